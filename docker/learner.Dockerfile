# The learner (and the whole simulated loop) with no ROS installation: ROS 2 Jazzy comes from PyPI.
# The torch that pip installs brings its own CUDA libraries; the host needs only the NVIDIA container toolkit.
FROM python:3.12.8-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libegl1 libgl1 libgl1-mesa-dri tini \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 robofume
USER 1000
WORKDIR /home/robofume/workspace

# What set-up needs comes first, so that an edit of a Python file does not install everything again.
COPY --chown=robofume Makefile colcon.meta pyproject.toml ./
COPY --chown=robofume requirements requirements
COPY --chown=robofume tools tools
COPY --chown=robofume src src
RUN make setup

ENV PATH=/home/robofume/workspace/.venv/bin:$PATH
VOLUME /home/robofume/workspace/runs
HEALTHCHECK --interval=5m --timeout=2m --start-period=2m CMD ["robofume", "doctor"]
ENTRYPOINT ["tini", "--", "robofume"]
CMD ["--help"]
