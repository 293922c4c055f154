"""What an incident is and what becomes of it: plain Python that knows neither AWS nor HTTP."""
