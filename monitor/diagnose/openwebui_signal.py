"""What Open WebUI's list of models proves. Evidence.sign is the signal, code what kind of trouble it is."""

from config.causes import Cause
from monitor.diagnose.base import Rule

OPENWEBUI_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=("models",),
        codes=("auth",),
        proof="Open WebUI refuses our own key (401)",
        says="{title} at {address} refuses the key in OPEN_WEBUI_API_KEY.",
        remedy="Make a new key in Open WebUI (Settings → Account → API keys) and put it into OPEN_WEBUI_API_KEY. Keys "
        "end with their user, and all of them when WEBUI_SECRET_KEY or its database changes.",
    ),
    Rule(
        cause=Cause.MISCONFIGURED,
        precise=True,
        signs=("models",),
        codes=("stale",),
        proof="LiteLLM lists models to its own key, and none of them is in Open WebUI's list",
        says="{title} at {address} shows none of LiteLLM's models: it uses an old key, or another address.",
        remedy="Open WebUI keeps key and address of its first start in its own database, and later changes of "
        "OPENAI_API_KEY and OPENAI_API_BASE_URL do nothing. Open Admin Panel → Settings → Connections, put the current "
        "LITELLM_MASTER_KEY (or a virtual key) and LiteLLM's address with /v1 there, or set "
        "ENABLE_PERSISTENT_CONFIG=False and redeploy. If people do see models, the user of OPEN_WEBUI_API_KEY may not: "
        "take an admin's key.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        precise=True,
        signs=("models",),
        codes=("none",),
        proof="Open WebUI lists no model, and what its provider lists is not known",
        says="{title} at {address} lists no model.",
        remedy="See Admin Panel → Settings → Connections: the key and the address it really uses stand there, not in "
        "its variables. Set LITELLM_URL and LITELLM_MASTER_KEY as well, and this check can tell whose fault it is.",
    ),
)
