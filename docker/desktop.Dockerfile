# refdet on a desktop with ROS 2 (ONNX Runtime on the CPU). Build it in the root of the repository:
#
#   docker build -f docker/desktop.Dockerfile --build-arg ROS_DISTRO=jazzy -t refdet .
#   docker run -it --network host --ipc host refdet
#
# Checked with hadolint; not built yet.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Ubuntu 24.04: lets rosdep install onnxruntime and rosbags, which have no apt package.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1
WORKDIR /ros2_ws

# Dependencies before sources: a change of the sources does not install them again.
COPY package.xml src/refdet/package.xml
COPY msg/package.xml src/refdet/msg/package.xml
# apt's versions are those of the distribution; pinning them would break with its next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rosdep update --rosdistro "${ROS_DISTRO}" \
    && rosdep install --from-paths src/refdet src/refdet/msg --ignore-src --skip-keys rviz2 -y \
    && rm -rf /var/lib/apt/lists/*

COPY . src/refdet
RUN . "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && colcon build --base-paths src/refdet src/refdet/msg

ENTRYPOINT ["/bin/bash", "-c", "source /ros2_ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "refdet_ros", "detector.launch.py"]
