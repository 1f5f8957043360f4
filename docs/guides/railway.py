"""Watchkeeper on Railway as infrastructure-as-code: a named partial that owns this one service and its volume.

Copy it to `.railway/railway.py` of a repository of its own, edit the three names, then `railway config plan` and, when
the plan adds one service and one volume and touches nothing else, `railway config apply`. Do not rename PARTIAL
after it was applied: a partial that disappears is a partial whose resources are removed.
"""

from railway_sdk import define_railway, github, project, service, volume

PARTIAL = "watchkeeper"

PROJECT = "llm-stack"  # your project's name on Railway
REPOSITORY = "your-org/watchkeeper"  # where this code lives
STATE = "/var/lib/watchkeeper"  # where the volume is mounted

# Railway fills in ${{Service.VARIABLE}} at deploy. Name services as the canvas does; leave out what you do not run.
VARIABLES = {
    "DATABASE_URL": "${{Postgres.DATABASE_URL}}",
    "REDIS_URL": "${{Redis.REDIS_URL}}",
    "CLICKHOUSE_URL": "http://${{ClickHouse.RAILWAY_PRIVATE_DOMAIN}}:8123",
    "CLICKHOUSE_USER": "${{ClickHouse.CLICKHOUSE_USER}}",
    "CLICKHOUSE_PASSWORD": "${{ClickHouse.CLICKHOUSE_PASSWORD}}",
    "MINIO_ENDPOINT": "http://${{MinIO.RAILWAY_PRIVATE_DOMAIN}}:9000",
    "MINIO_ROOT_USER": "${{MinIO.MINIO_ROOT_USER}}",
    "MINIO_ROOT_PASSWORD": "${{MinIO.MINIO_ROOT_PASSWORD}}",
    "LITELLM_URL": "http://${{LiteLLM.RAILWAY_PRIVATE_DOMAIN}}:4000",
    "LITELLM_MASTER_KEY": "${{LiteLLM.LITELLM_MASTER_KEY}}",
    "LANGFUSE_URL": "http://${{langfuse-web.RAILWAY_PRIVATE_DOMAIN}}:3000",
    "LANGFUSE_WORKER_URL": "http://${{langfuse-worker.RAILWAY_PRIVATE_DOMAIN}}:3030",
    "PORT": "8080",
}


@define_railway
def main(ctx=None):  # noqa: ARG001 -- Railway's CLI calls it so
    """Gives the project as far as this partial owns it."""
    state = volume("watchkeeper-state")
    keeper = service(
        "watchkeeper",
        source=github(REPOSITORY),
        build={"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"},
        healthcheck="/healthz",
        healthcheckTimeout=60,
        deploy={"restartPolicyType": "ALWAYS", "overlapSeconds": 0, "drainingSeconds": 10},
        replicas=1,
        volumeMounts={STATE: state},
        env=VARIABLES,
    )
    return project(PROJECT, resources=[state, keeper])
