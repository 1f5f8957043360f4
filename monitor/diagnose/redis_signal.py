"""What Redis's or Valkey's signals prove. Evidence.sign is the signal, or code the first word of its error."""

from monitor.diagnose.base import Rule

REDIS_SIGNAL: tuple[Rule, ...] = ()
