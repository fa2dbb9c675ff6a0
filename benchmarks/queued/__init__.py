"""What room `tasks` measures: the same work as a job, a bare Celery task and a peer's, under real workers."""
