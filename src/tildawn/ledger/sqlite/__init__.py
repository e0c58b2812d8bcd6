"""The one store there is: SQLite, through apsw, and nobody else speaks SQL."""
