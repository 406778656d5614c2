"""What on-call and the integration team do with files at a terminal: look, compare, convert. Knows no Airflow."""
