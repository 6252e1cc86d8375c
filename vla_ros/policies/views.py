"""Which camera each of a policy's images comes from: spec and policy file, fitted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vla_ros.core.policy_file import ImageSource
from vla_ros.core.robot_clouds import Cloud, sampled
from vla_ros.core.shown import shown
from vla_ros.core.types import CloudPoints, Depth, Image, Observation, Size
from vla_ros.policies.base import REMEDY, PolicySpec, shapes_text, size_text, sizes_text


@dataclass(frozen=True)
class View:
    """What a camera hands on: images of `size` (height, width), fitted in by `resize`."""

    size: Size
    resize: str

    def __str__(self) -> str:
        return f"{size_text(self.size)} ({self.resize})"


class Views:
    """A policy's images, each through its camera.

    `spec` is the policy's, with the sizes as they come; `cameras` what each camera hands on, and
    `depths` which of them hand on depth, and how. A camera whose depth alone is wanted hands on its
    colour beside it, of the same size.
    """

    def __init__(
        self, spec: PolicySpec, sources: Mapping[str, ImageSource], beside: Views | None = None
    ) -> None:
        """Fits the two together. Raises ValueError where they do not fit.

        Args:
            spec: The policy's.
            sources: The policy file's images.
            beside: The views of the policy that this one stands in for, whose images it gets: one
                that takes any size takes theirs.
        """
        for key in sources:
            if key in spec.clouds and (sources[key].size or sources[key].resize):
                raise ValueError(
                    f"images.{key} is a point cloud, which has no size or resize; give camera alone"
                )
            if key not in spec.images and key not in spec.depths and key not in spec.clouds:
                depths = f" and the depth of {sizes_text(spec.depths)}" if spec.depths else ""
                raise ValueError(
                    f"the policy file's images name {shown(key)}, and the policy looks "
                    f"at {sizes_text(spec.images) or 'none'}{depths}; give its names"
                )
        self.cameras: dict[str, View] = {}
        self.depths: dict[str, View] = {}
        # the policy's key -> camera
        self._camera = _fit(
            spec, spec.images, sources, self.cameras, beside.cameras if beside else {}
        )
        self._depth = _fit(spec, spec.depths, sources, self.depths, beside.depths if beside else {})
        sizes = {key: self.cameras[camera].size for key, camera in self._camera.items()}
        depth_sizes = {key: self.depths[camera].size for key, camera in self._depth.items()}
        for camera, view in self.depths.items():
            self.cameras.setdefault(camera, view)
        # the policy's key -> cloud
        self.clouds: dict[str, str] = {}
        for key in spec.clouds:
            self.clouds[key] = sources.get(key, ImageSource(key)).camera
        self.spec = replace(spec, images=sizes, depths=depth_sizes)

    def __str__(self) -> str:
        cameras = [f"{camera} of {view}" for camera, view in self.cameras.items()]
        cameras += [f"depth of {camera} of {view}" for camera, view in self.depths.items()]
        return ", ".join(cameras) or "no camera"

    def of(self, camera: str) -> View:
        """What that camera hands on. Raises ValueError where it is none of the policy's."""
        if camera not in self.cameras:
            raise ValueError(
                f"the policy looks through {self}, and this camera is '{camera}'; {REMEDY}"
            )
        return self.cameras[camera]

    def check(
        self,
        cameras: Iterable[str],
        depths: Iterable[str] = (),
        clouds: Sequence[Cloud] | None = None,
    ) -> None:
        """Raises ValueError, with both lists, where the policy looks through another camera.

        Args:
            cameras: The names of those that are there.
            depths: Of those that give depth.
            clouds: The robot file's; None: they are not the caller's business.
        """
        if clouds is not None:
            self._check_clouds(clouds)
        present = list(cameras)
        deep = list(depths)
        if not set(self.cameras) <= set(present):
            raise ValueError(
                f"the policy looks through {self}, and the cameras are "
                f"{', '.join(present) or 'none'}; {REMEDY}"
            )
        if not set(self.depths) <= set(deep):
            raise ValueError(
                f"the policy wants the depth of {', '.join(self.depths)}, and the cameras with "
                f"depth are {', '.join(deep) or 'none'}; give the topic in the robot file "
                "(cameras: {NAME: {depth: TOPIC}}), or another camera's name in the policy file"
            )

    def _check_clouds(self, clouds: Sequence[Cloud]) -> None:
        """Raises ValueError, with both lists, where a cloud is missing or hands on less."""
        there = {cloud.name: cloud for cloud in clouds}
        for key, name in self.clouds.items():
            points, columns = self.spec.clouds[key]
            cloud = there.get(name)
            if cloud is None or cloud.points < points or cloud.columns < columns:
                listed = [f"{each.name} of {each.points} x {each.columns}" for each in clouds]
                raise ValueError(
                    f"the policy wants the point cloud {shown(name)} of {points} x {columns}, and "
                    f"the robot file's clouds are {', '.join(listed) or 'none'}; give it there "
                    "(clouds: {NAME: {topic: TOPIC, points: N, color: true}}), or another one's "
                    "name in the policy file (images: {KEY: {camera: NAME}})"
                )

    def within(self, other: Views) -> bool:
        """Are its images among those that the cameras hand on for the other?"""
        same_depths = self.depths.items() <= other.depths.items()
        same_clouds = set(self.clouds.values()) <= set(other.clouds.values())
        return same_depths and same_clouds and self.cameras.items() <= other.cameras.items()

    def fit(self, observation: Observation) -> Observation:
        """The observation as the policy knows it: its images under its own keys, and no others.

        Raises ValueError, with both lists, where a camera is missing or of another size, or a
        number that the policy must be told is not measured.
        """
        images = observation.images
        fitted: dict[str, Image] = {}
        for key, camera in self._camera.items():
            size = tuple(self.spec.images[key])
            if camera in images and images[camera].shape[:2] == size:
                fitted[key] = images[camera]
        if len(fitted) < len(self._camera):
            # by the cameras' names: a person looks for those, and not for the policy's keys
            wanted = sizes_text({camera: view.size for camera, view in self.cameras.items()})
            raise ValueError(
                f"the policy looks through {wanted}, and the observation has "
                f"{shapes_text(images)}; {REMEDY}"
            )
        depths: dict[str, Depth] = {}
        for key, camera in self._depth.items():
            depth = observation.depths.get(camera)
            if depth is None or depth.shape != tuple(self.spec.depths[key]):
                wanted = sizes_text({camera: view.size for camera, view in self.depths.items()})
                shown_depths = shapes_text(observation.depths) if observation.depths else "none"
                raise ValueError(
                    f"the policy wants the depth of {wanted}, and the observation has the depth of "
                    f"{shown_depths}; {REMEDY}"
                )
            depths[key] = depth
        clouds: dict[str, CloudPoints] = {}
        for key, name in self.clouds.items():
            points, columns = self.spec.clouds[key]
            cloud = observation.clouds.get(name)
            if cloud is None or cloud.shape[1] < columns:
                raise ValueError(
                    f"the policy wants the point cloud {shown(name)} of {points} x {columns}, and "
                    f"the observation has {shapes_text(observation.clouds)}"
                )
            clouds[key] = sampled(cloud, points, columns)
        lacking = [name for name in self.spec.state if name not in observation.state]
        if lacking:
            raise ValueError(
                f"the policy wants the robot's {', '.join(lacking)}, which is not "
                f"measured; there are {', '.join(observation.state) or 'none'}"
            )
        return replace(observation, images=fitted, depths=depths, clouds=clouds)


def _fit(
    spec: PolicySpec,
    wanted: Mapping[str, Size],
    sources: Mapping[str, ImageSource],
    views: dict[str, View],
    beside: Mapping[str, View],
) -> dict[str, str]:
    """The camera of each of the images `wanted`. Writes what each hands on to `views`."""
    cameras: dict[str, str] = {}
    for key in wanted:
        source = sources.get(key, ImageSource(key))
        camera = source.camera
        cameras[key] = camera
        size = _size(spec, key, wanted[key], source, beside.get(camera))
        # two keys may share a camera, which hands on one kind of image alone
        view = View(size, source.resize or spec.resize)
        if views.setdefault(camera, view) != view:
            raise ValueError(
                f"camera '{camera}' is to hand on images of {views[camera]} "
                f"and of {view}; start a camera_ingest with another name on the "
                "same topic for one of them"
            )
    return cameras


def _size(
    spec: PolicySpec, key: str, wanted: Size, source: ImageSource, theirs: View | None
) -> Size:
    """What a camera is to hand on: as the file says, or as it does for `theirs`, or the spec's."""
    height, width = wanted
    own = height, width  # a tuple: a spec may have a list
    if source.size is None:
        return theirs.size if theirs and spec.any_size else own
    # the policy's own size may be repeated in the file; another one only some policies take
    if source.size != own and not spec.any_size:
        raise ValueError(
            f"images.{key}.size is {size_text(source.size)}, and the policy takes "
            f"images of {size_text(own)} alone; leave size out"
        )
    return source.size
