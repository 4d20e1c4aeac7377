"""One rank among the processes that torchrun starts: its process group, and one record for the job."""
