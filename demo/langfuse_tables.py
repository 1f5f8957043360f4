"""ClickHouse tables like Langfuse's, in our own DDL: what the demo watches and the backup tests copy.

Like Langfuse's they are ReplacingMergeTree by event_ts with is_deleted, hold text that is large and compressed, and
feed an aggregate through a materialized view.
"""

# ruff: noqa: S608 - what is put into these statements is our own

TABLES = (
    """CREATE TABLE IF NOT EXISTS traces (
        id String, project_id String, timestamp DateTime64(3), name String, user_id Nullable(String),
        session_id Nullable(String), environment LowCardinality(String) DEFAULT 'default',
        release Nullable(String), version Nullable(String), tags Array(String),
        metadata Map(LowCardinality(String), String), public Bool, bookmarked Bool,
        input Nullable(String) CODEC(ZSTD(3)), output Nullable(String) CODEC(ZSTD(3)),
        created_at DateTime64(3) DEFAULT now64(3), updated_at DateTime64(3) DEFAULT now64(3),
        event_ts DateTime64(3), is_deleted UInt8,
        INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 1
    ) ENGINE = ReplacingMergeTree(event_ts, is_deleted)
    PARTITION BY toYYYYMM(timestamp) PRIMARY KEY (project_id, toDate(timestamp))
    ORDER BY (project_id, toDate(timestamp), id)""",
    """CREATE TABLE IF NOT EXISTS observations (
        id String, trace_id String, project_id String, type LowCardinality(String),
        parent_observation_id Nullable(String), start_time DateTime64(3), end_time Nullable(DateTime64(3)),
        name String, level LowCardinality(String), status_message Nullable(String),
        provided_model_name Nullable(String), model_parameters Nullable(String),
        usage_details Map(LowCardinality(String), UInt64), cost_details Map(LowCardinality(String), Decimal64(12)),
        total_cost Nullable(Decimal64(12)), metadata Map(LowCardinality(String), String),
        input Nullable(String) CODEC(ZSTD(3)), output Nullable(String) CODEC(ZSTD(3)),
        event_ts DateTime64(3), is_deleted UInt8
    ) ENGINE = ReplacingMergeTree(event_ts, is_deleted)
    PARTITION BY toYYYYMM(start_time) PRIMARY KEY (project_id, type, toDate(start_time))
    ORDER BY (project_id, type, toDate(start_time), id)""",
    """CREATE TABLE IF NOT EXISTS scores (
        id String, project_id String, timestamp DateTime64(3), trace_id Nullable(String),
        observation_id Nullable(String), name String, value Nullable(Float64), string_value Nullable(String),
        source LowCardinality(String), data_type LowCardinality(String), comment Nullable(String) CODEC(ZSTD(1)),
        event_ts DateTime64(3), is_deleted UInt8
    ) ENGINE = ReplacingMergeTree(event_ts, is_deleted)
    PARTITION BY toYYYYMM(timestamp) PRIMARY KEY (project_id, toDate(timestamp), name)
    ORDER BY (project_id, toDate(timestamp), name, id)""",
    """CREATE TABLE IF NOT EXISTS model_usage_by_day (
        project_id String, day Date, model LowCardinality(String),
        calls SimpleAggregateFunction(sum, UInt64), cost SimpleAggregateFunction(sum, Decimal(38, 12)),
        slowest SimpleAggregateFunction(max, Float64), users AggregateFunction(uniq, String)
    ) ENGINE = AggregatingMergeTree ORDER BY (project_id, day, model)""",
    """CREATE MATERIALIZED VIEW IF NOT EXISTS model_usage_by_day_view TO model_usage_by_day AS
    SELECT project_id, toDate(start_time) AS day, ifNull(provided_model_name, 'none') AS model, count() AS calls,
        sum(toDecimal128(ifNull(total_cost, 0), 12)) AS cost,
        max(toFloat64(ifNull(dateDiff('millisecond', start_time, end_time), 0)) / 1000) AS slowest,
        uniqState(trace_id) AS users
    FROM observations WHERE type = 'GENERATION' GROUP BY project_id, day, model""",
)


def rows(traces: int) -> tuple[str, ...]:
    """The INSERTs for that many traces over the last 30 days: three observations to each, a score to every other one.

    The same number gives the same rows but for their times. Every 50th trace is written twice, as an update is.
    """
    return (
        f"""INSERT INTO traces (id, project_id, timestamp, name, user_id, session_id, environment, release, tags,
            metadata, input, output, event_ts, is_deleted)
        SELECT {_id("trace")}, {_project()}, {_time()} AS at, ['chat', 'summarise', 'agent-run', 'rag'][number % 4 + 1],
            if(number % 7 = 0, NULL, concat('user-', toString(number % 83))),
            concat('session-', toString(intDiv(number, 5))), ['production', 'staging'][(number % 9 = 0) + 1], '1.84.2',
            if(number % 3 = 0, ['beta', 'größe'], []), map('region', 'eu-west', 'attempt', toString(number % 4)),
            {_text("What does invoice", 12)}, {_text("The invoice says", 40)}, at, 0
        FROM numbers({traces})""",
        """INSERT INTO traces SELECT * REPLACE (event_ts + 1 AS event_ts, concat(name, '-renamed') AS name)
        FROM traces WHERE cityHash64(id) % 50 = 0""",
        f"""INSERT INTO observations (id, trace_id, project_id, type, parent_observation_id, start_time, end_time, name,
            level, status_message, provided_model_name, model_parameters, usage_details, cost_details, total_cost,
            metadata, input, output, event_ts, is_deleted)
        WITH part % 3 AS step, intDiv(part, 3) AS number
        SELECT {_id("observation", "part")}, {_id("trace")}, {_project()},
            ['SPAN', 'GENERATION', 'EVENT'][step + 1], if(step = 0, NULL, {_id("observation", "number * 3")}),
            {_time()} AS at, if(step = 2, NULL, at + toIntervalMillisecond(200 + cityHash64(part) % 9000)),
            ['retrieve', 'litellm-completion', 'tool-call'][step + 1], if(number % 41 = 0, 'ERROR', 'DEFAULT'),
            if(number % 41 = 0, 'upstream answered 429', NULL),
            if(step = 1, ['gpt-4o-mini', 'claude-sonnet-4-5', 'qwen3-32b'][number % 3 + 1], NULL),
            if(step = 1, '{{"temperature":0.2,"max_tokens":512}}', NULL),
            if(step = 1, map('input', 300 + number % 900, 'output', 20 + number % 400), map()) AS usage,
            if(step = 1, map('total', toDecimal64(usage['output'] * 0.0000006, 12)), map()) AS costs,
            if(step = 1, costs['total'], NULL), map('host', concat('worker-', toString(number % 3))),
            {_text("Context passage", 60)}, if(step = 1, {_text("Answer", 40)}, NULL), at, 0
        FROM (SELECT number AS part FROM numbers({traces * 3}))""",
        f"""INSERT INTO scores (id, project_id, timestamp, trace_id, name, value, source, data_type, comment, event_ts,
            is_deleted)
        SELECT {_id("score")}, {_project()}, {_time()} AS at, {_id("trace")}, 'helpfulness',
            (cityHash64(number) % 1000) / 1000, if(number % 5 = 0, 'ANNOTATION', 'EVAL'), 'NUMERIC',
            if(number % 11 = 0, 'read by a person', NULL), at, 0
        FROM numbers({traces}) WHERE number % 2 = 0""",
    )


def _id(kind: str, number: str = "number") -> str:
    return f"lower(hex(sipHash128('{kind}', {number})))"


def _project() -> str:
    return "concat('project-', toString(cityHash64(number) % 3))"


def _time() -> str:
    return "now64(3) - toIntervalSecond(cityHash64(number) % (30 * 86400))"


def _text(start: str, words: int) -> str:
    """Words that compress about as prose does."""
    known = "['invoice','total','due','the','customer','paid','and','a','refund','of','order','€','line','tax']"
    word = f"{known}[cityHash64(number, i) % 14 + 1]"
    return f"concat('{start} ', arrayStringConcat(arrayMap(i -> {word}, range({words})), ' '))"
