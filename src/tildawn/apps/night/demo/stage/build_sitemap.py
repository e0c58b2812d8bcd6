"""Write sitemap.xml with one entry for each product of products.csv.

What it is not: careful about what the shop has; it lists what the file names.  Safe to run again: the same products give the same file, and the file appears at once or not.
"""

import csv
import os
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape


HERE = Path(__file__).resolve().parent
SHOP = os.environ.get("SHOP_URL", "https://shop.example")


def main() -> None:
    """Read the products and replace the sitemap.

    Raises:
        OSError: a file cannot be read or written.
    """
    with (HERE / "products.csv").open(encoding="utf-8", newline="") as file:
        skus = [row["sku"] for row in csv.DictReader(file)]
    entries = [f"  <url><loc>{escape(f'{SHOP}/products/{quote(sku)}')}</loc></url>" for sku in skus]
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    body = "\n".join(
        [head, '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">', *entries]
    )
    part = HERE / "sitemap.xml.part"
    part.write_text(f"{body}\n</urlset>\n", encoding="utf-8")
    part.replace(HERE / "sitemap.xml")


if __name__ == "__main__":
    main()
