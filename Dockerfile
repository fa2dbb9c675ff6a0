# The demo project, for compose.yaml: one image for web, worker and beat.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/perfkit

RUN pip install "pip>=25.1" && useradd --system --create-home perfkit

# What changes seldom comes first, so that a change of the code installs nothing again.
COPY pyproject.toml requirements-dev.txt README.md LICENSE ./
RUN pip install --constraint requirements-dev.txt --group demo

COPY perfkit perfkit
COPY project project
COPY manage.py ./
RUN pip install --constraint requirements-dev.txt --editable ".[all]" \
    # The settings need no server for this; what they write beside it is not wanted in the image.
    && PERFKIT_DB=sqlite DJANGO_SECRET_KEY=unused python manage.py collectstatic --noinput && rm -r .local

USER perfkit
EXPOSE 8000
# Of an image that serves; compose.yaml has another one for workers and beat.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
# What /metrics says of Python is of the process that answers; perfkit's own figures are of all.
CMD ["gunicorn", "project.wsgi:application", "--bind", "0.0.0.0:8000", "--workers", "1", "--threads", "16", "--access-logfile", "-"]
