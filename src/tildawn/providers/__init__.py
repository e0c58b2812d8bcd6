"""Who we call: models, web servers, programs and files."""
