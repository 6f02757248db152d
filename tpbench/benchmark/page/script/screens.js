// The pictures of a clip: its inputs, the real and the generated videos, and their differences.

// The difference of two videos, |real - generated| of every channel, drawn anew for every frame. It is
// composed by the browser: a page opened from a file may not read the pixels of its videos.
function differencePicture(real, generated, gain) {
  const canvas = el("canvas", { class: "difference", role: "img", "aria-label": `difference to the real clip, ${gain} times` });
  canvas.style.filter = gain === 1 ? "none" : `brightness(${gain})`;
  const context = canvas.getContext("2d");
  const draw = () => {
    if (real.readyState < 2 || generated.readyState < 2 || !canvas.isConnected) return;
    if (canvas.width !== real.videoWidth) canvas.width = real.videoWidth;
    if (canvas.height !== real.videoHeight) canvas.height = real.videoHeight;
    context.globalCompositeOperation = "copy";
    context.drawImage(real, 0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "difference";
    context.drawImage(generated, 0, 0, canvas.width, canvas.height);
  };
  for (const video of [real, generated]) {
    for (const name of ["loadeddata", "seeked", "timeupdate"]) video.addEventListener(name, draw);
    const again = () => {
      if (!canvas.isConnected) return;
      draw();
      video.requestVideoFrameCallback?.(again);
    };
    video.requestVideoFrameCallback?.(again);
  }
  requestAnimationFrame(draw);
  return canvas;
}

// Fills the host with figures; `large` is the key of the one that is enlarged, and videos go to the player.
function showScreens(host, { clip, shown, grid, gain, large, player, onLarge }) {
  const own = clip.reference_clip === clip.driving_clip;
  const figure = (key, kind, caption, content, extra = {}) => {
    const isLarge = large === key;
    const press = button(isLarge ? "\u2715" : "\u2922", () => onLarge(isLarge ? null : key), {
      class: "enlarge", "aria-label": `${isLarge ? "shrink" : "enlarge"} ${caption}`, "aria-pressed": String(isLarge), "data-key": key,
    });
    const filled = content.some((node) => !node.classList.contains("void"));
    return el("figure", { "data-kind": kind, class: isLarge ? "large" : null, ...extra },
      el("div", { class: "pictures" }, content, filled ? press : null), el("figcaption", {}, caption));
  };
  const nothing = (text) => el("div", { class: "void" }, text);
  const videoOf = (source, caption, extra = {}) => {
    const video = el("video", { src: source, preload: grid ? "auto" : "metadata", playsinline: true, "aria-label": caption, ...extra });
    video.muted = true;
    video.addEventListener("error", () => video.replaceWith(nothing("this video can't be shown")));
    player.add(video);
    return video;
  };
  const captions = {
    reference: own ? "Reference: first frame" : `Reference: ${clip.reference_clip}`,
    pose: "Driving pose",
    real: own ? "Real clip" : `Driving clip: ${clip.driving_clip}`,
  };
  const real = clip.real ? videoOf(clip.real, captions.real) : null;
  // Videos that were scored as they are may come without any reference or pose.
  const has = (part) => data.clips.some((one) => one[part]);
  host.replaceChildren(...[
    has("reference") ? figure("reference", "reference", captions.reference,
      [clip.reference ? el("img", { src: clip.reference, alt: "the reference image" }) : nothing("no picture here")]) : null,
    has("pose") ? figure("pose", "pose", captions.pose, [clip.pose ? videoOf(clip.pose, captions.pose) : nothing("no pose here")]) : null,
    figure("real", "real", captions.real, [real ?? nothing("no video here")]),
    ...shown.map((model) => {
      const source = clip.generated[model.id];
      const video = source ? videoOf(source, model.name, { "data-model": model.id }) : null;
      const difference = gain && own && real && video ? differencePicture(real, video, gain) : null;
      return figure(model.id, "generated", model.name, [video ?? nothing("no video here"), difference].filter(Boolean), { "data-of": model.id });
    })].filter(Boolean));
  host.classList.toggle("grid", grid);
  const beside = grid || large !== null ? 0 : host.querySelectorAll(".difference").length;
  host.style.setProperty("--screens", host.children.length + beside);
}
