"""What is dangerous about a Celery configuration, whoever made it; `manage.py check --tag perfkit` tells it.

Nothing is connected to: a rule sees settings, and the tasks that this process has imported.
"""

from perfkit.tasks.auditing.projects import current_findings
from perfkit.tasks.auditing.rules import findings_of

__all__ = ["current_findings", "findings_of"]
