# Airflow's own image with what Slussen needs, and Slussen. For docker-compose.yaml.
FROM apache/airflow:3.3.2-python3.11

COPY requirements.txt requirements-celery.txt /opt/slussen/
RUN pip install --no-cache-dir --require-hashes -r /opt/slussen/requirements.txt \
    && pip install --no-cache-dir -r /opt/slussen/requirements-celery.txt

COPY --chown=airflow:0 dags /opt/slussen/dags
COPY --chown=airflow:0 plugins /opt/slussen/plugins
COPY --chown=airflow:0 include /opt/slussen/include
COPY --chown=airflow:0 sandbox /opt/slussen/sandbox
COPY --chown=airflow:0 airflow_settings.yaml /opt/slussen/

ENV PYTHONPATH=/opt/slussen/plugins:/opt/slussen \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/slussen/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/slussen/plugins \
    TZ=UTC \
    MALLOC_MMAP_THRESHOLD_=1048576
WORKDIR /opt/slussen
