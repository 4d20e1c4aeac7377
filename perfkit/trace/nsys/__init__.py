"""Reading exports of Nsight Systems."""
