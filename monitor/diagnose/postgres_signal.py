"""What PostgreSQL's signals prove. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

POSTGRES_SIGNAL: tuple[Rule, ...] = ()
