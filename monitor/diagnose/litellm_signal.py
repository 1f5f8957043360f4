"""What LiteLLM's signals prove. Evidence.sign is the signal that was missed, code what kind of trouble it is."""

from config.causes import Cause
from monitor.diagnose.base import Rule

# A trouble with a provider shows in LiteLLM's own stored checks and in a completion alike.
_PROVIDER = ("health", "completion")

LITELLM_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.BAD_ANSWER,
        precise=True,
        signs=("models",),
        codes=("vanished",),
        proof="LiteLLM lists far fewer models than within the last hour; the evidence names those that are gone",
        says="{title} at {address} lists far fewer models than it did.",
        remedy="If nobody removed them: models kept in its database vanish when they can no longer be decrypted. Look "
        "for “Did your master_key/salt key change recently” in its log, put the old LITELLM_SALT_KEY (or, if none was "
        "set, the old LITELLM_MASTER_KEY) back and redeploy; never save models with the new one. If the log is "
        "silent, see whether its DATABASE_URL names another or an empty database.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=_PROVIDER,
        codes=("provider_auth",),
        proof="a provider refuses the key LiteLLM has for it (401, 403, “Incorrect API key”); LiteLLM's own key works",
        says="A provider refuses the key that {title} at {address} has for it: the models in the evidence do not work.",
        remedy="LiteLLM itself is well. Make a new key at the provider (expired, revoked, or its account was closed), "
        "put it into LiteLLM (OPENAI_API_KEY, ANTHROPIC_API_KEY, … or the model's own entry) and redeploy.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=_PROVIDER,
        codes=("provider_quota",),
        proof="a provider says that the account has no money or quota left",
        says="The account of {title} at {address} with a provider is out of money or quota.",
        remedy="LiteLLM itself is well. Pay or raise the limit in the provider's console (billing); until then send "
        "the requests to another provider with a fallback in LiteLLM.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=_PROVIDER,
        codes=("provider_limit",),
        proof="a provider answers 429: too many requests",
        says="A provider limits the requests of {title} at {address}.",
        remedy="See who sends so many (LiteLLM's usage page), and ask the provider for a higher limit, or give the "
        "model a second deployment. LiteLLM's own checks count as requests too: health_check_interval.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        precise=True,
        signs=_PROVIDER,
        codes=("model_missing",),
        proof="a provider says that there is no such model",
        says="A provider has no model of the name that {title} at {address} asks it for.",
        remedy="Providers retire models and rename deployments: compare the model's litellm_params.model with the "
        "provider's list, and change it there.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=_PROVIDER,
        codes=("provider_unreached",),
        proof="LiteLLM could not reach a provider, or it did not answer in time",
        says="{title} at {address} does not reach a provider.",
        remedy="See the provider's status page first, then whether LiteLLM's host can reach the internet and the "
        "model's api_base names the right address. A fallback in LiteLLM keeps users working.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=_PROVIDER,
        codes=("provider_error",),
        proof="a provider failed in another way; the evidence quotes it",
        says="A model behind {title} at {address} fails.",
        remedy="Read the evidence: LiteLLM hands the provider's own words on. If it is the provider's trouble, see its "
        "status page; a fallback in LiteLLM keeps users working.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("completion",),
        codes=("overloaded",),
        proof="LiteLLM refuses a completion: overloaded_error",
        says="{title} at {address} has more requests in flight than it is allowed to take.",
        remedy="See who sends them, raise max_in_flight_requests if there is memory for it, or run another LiteLLM "
        "beside it.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        precise=True,
        signs=("completion",),
        codes=("late",),
        proof="a completion did not come in time",
        says="{title} at {address} took a request for a completion and did not answer it in time.",
        remedy="If its other checks pass, the provider is slow or hangs: see its status page, and set timeout and a "
        "fallback in LiteLLM's router settings. If they fail too, look at LiteLLM's CPU and its log.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        precise=True,
        signs=("completion",),
        codes=("unknown_model",),
        proof="LiteLLM says “Invalid model name”",
        says="{title} at {address} does not know the model in LITELLM_SYNTHETIC_MODEL.",
        remedy="If it knew it before, its models are gone: it started without its database, or cannot decrypt them "
        "(LITELLM_SALT_KEY). Otherwise write a name into LITELLM_SYNTHETIC_MODEL that /v1/models lists.",
    ),
    Rule(
        cause=Cause.MISCONFIGURED,
        precise=True,
        signs=("completion",),
        codes=("not_allowed",),
        proof="LiteLLM says that this key may not use the model",
        says="The key for {title} at {address} may not use the model in LITELLM_SYNTHETIC_MODEL.",
        remedy="Name a model that this key may use in LITELLM_SYNTHETIC_MODEL, or allow it on LiteLLM's keys page.",
    ),
)
