# refdet on a Jetson with JetPack 5 or 6 (TensorRT). Build it on the Jetson, in the root of the repository, with the L4T
# of the board (`cat /etc/nv_tegra_release`): r35.4.1 for JetPack 5.1.2, r36.3.0 for JetPack 6.
#
#   sudo docker build -f docker/jetson.Dockerfile --build-arg L4T=r35.4.1 -t refdet .
#   sudo docker run -it --runtime nvidia --network host --ipc host -v ~/refdet_cache:/root/.cache refdet
#
# Checked with hadolint; not built yet.
ARG L4T=r35.4.1
FROM dustynv/ros:humble-ros-base-l4t-${L4T}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# nvcc, which compiles pycuda and refdet's kernels. The base image may name a package index of its own.
ENV PATH=/usr/local/cuda/bin:${PATH} PIP_INDEX_URL=https://pypi.org/simple PIP_NO_CACHE_DIR=1
WORKDIR /ros2_ws

# The last versions with wheels for aarch64 and Python 3.8; pycuda is compiled against this NumPy.
RUN pip3 install "numpy>=1.21,<1.24" onnxruntime==1.19.2 onnx==1.17.0 PyYAML==6.0.3 tqdm==4.70.1 rosbags==0.9.23 \
        setuptools==69.5.1 wheel==0.45.1 \
    && pip3 install --no-build-isolation pycuda==2026.1

COPY . src/refdet
RUN . /opt/ros/humble/install/setup.bash \
    && colcon build --base-paths src/refdet src/refdet/msg

ENTRYPOINT ["/bin/bash", "-c", "source /ros2_ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "refdet_ros", "detector.launch.py", "backend:=tensorrt"]
