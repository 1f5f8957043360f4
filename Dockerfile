# syntax=docker/dockerfile:1
# One image, one process. Debian bookworm throughout: PostgreSQL's clients are copied and need its libraries.

FROM postgres:14.19-bookworm AS postgres14
FROM postgres:15.14-bookworm AS postgres15
FROM postgres:16.10-bookworm AS postgres16
FROM postgres:17.6-bookworm AS postgres17
FROM postgres:18.0-bookworm AS postgres18

FROM python:3.13.7-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/build && python -m venv /opt/watchkeeper
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
RUN /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && /opt/watchkeeper/bin/pip install --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY alerts alerts
COPY backup backup
COPY config config
COPY monitor monitor
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/watchkeeper/bin/pip install --no-deps /tmp/wheel/*.whl \
 && /opt/watchkeeper/bin/python -m compileall -q /opt/watchkeeper/lib

FROM python:3.13.7-slim-bookworm
# What pg_dump and psql of every major link against, beside the libpq copied below.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      libgssapi-krb5-2 libldap-2.5-0 liblz4-1 libreadline8 libssl3 libzstd1 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin watchkeeper
COPY --from=postgres14 /usr/lib/postgresql/14/bin/pg_dump /usr/lib/postgresql/14/bin/pg_dumpall \
     /usr/lib/postgresql/14/bin/pg_restore /usr/lib/postgresql/14/bin/psql /usr/lib/postgresql/14/bin/
COPY --from=postgres15 /usr/lib/postgresql/15/bin/pg_dump /usr/lib/postgresql/15/bin/pg_dumpall \
     /usr/lib/postgresql/15/bin/pg_restore /usr/lib/postgresql/15/bin/psql /usr/lib/postgresql/15/bin/
COPY --from=postgres16 /usr/lib/postgresql/16/bin/pg_dump /usr/lib/postgresql/16/bin/pg_dumpall \
     /usr/lib/postgresql/16/bin/pg_restore /usr/lib/postgresql/16/bin/psql /usr/lib/postgresql/16/bin/
COPY --from=postgres17 /usr/lib/postgresql/17/bin/pg_dump /usr/lib/postgresql/17/bin/pg_dumpall \
     /usr/lib/postgresql/17/bin/pg_restore /usr/lib/postgresql/17/bin/psql /usr/lib/postgresql/17/bin/
COPY --from=postgres18 /usr/lib/postgresql/18/bin/pg_dump /usr/lib/postgresql/18/bin/pg_dumpall \
     /usr/lib/postgresql/18/bin/pg_restore /usr/lib/postgresql/18/bin/psql /usr/lib/postgresql/18/bin/
# The newest libpq serves the older clients as well; it lies apart from Debian's so that neither shadows the other.
COPY --from=postgres18 /usr/lib/*-linux-gnu/libpq.so.5* /usr/lib/postgresql/lib/
RUN echo /usr/lib/postgresql/lib > /etc/ld.so.conf.d/libpq.conf && ldconfig \
 && for major in 14 15 16 17 18; do "/usr/lib/postgresql/$major/bin/pg_dump" --version; done
COPY --from=build /opt/watchkeeper /opt/watchkeeper
# PYTHONSAFEPATH: a stray backup.py in the working folder must not shadow the package.
ENV PATH=/opt/watchkeeper/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-m", "monitor.container", "health"]
# Starts as root only to own STATE_DIR (a mounted volume is root's), then becomes watchkeeper; execs, so it is PID 1.
ENTRYPOINT ["python", "-m", "monitor.container"]
CMD ["run"]
