"""What Airflow loads by itself: the only file below ``plugins/`` that it may execute (see ``.airflowignore``)."""

from airflow.plugins_manager import AirflowPlugin

from slussen.timetables import TIMETABLES


class SlussenPlugin(AirflowPlugin):
    """Our timetables, known to scheduler and API server."""

    name = "slussen"
    timetables = TIMETABLES
