// Plays several videos in sync. Each plays by itself, which is smooth, and those ahead of the
// slowest slow down or wait: seeking to every frame would be exact, but far too slow.

const WAITS = 0.6; // frames ahead at which a video pauses
const SLOWS = 0.2; // frames ahead at which it slows down

class Player {
  constructor(fps, frames, onFrame) {
    Object.assign(this, { fps, frames, onFrame, frame: 0, playing: false, rate: 1, videos: [], wanted: new Map() });
  }

  // Adds a video; all have the same length and rate. Videos that can't be loaded are ignored.
  add(video) {
    this.videos.push(video);
    video.addEventListener("loadedmetadata", () => this.seek(video, this.frame));
    video.addEventListener("seeked", () => {
      const next = this.wanted.get(video);
      this.wanted.delete(video);
      if (next !== undefined && next !== this.frameOf(video)) this.seek(video, next);
    });
  }

  get ready() {
    return this.videos.filter((video) => video.readyState >= 1 && !video.error);
  }

  frameOf(video) {
    return Math.min(this.frames - 1, Math.floor(video.currentTime * this.fps + 1e-3));
  }

  // Seeks to the middle of the frame, so that rounding can't give the previous one.
  seek(video, frame) {
    if (video.readyState < 1) return;
    if (video.seeking) {
      this.wanted.set(video, frame);
      return;
    }
    // A seek may have ended whose event is still to come: what was wanted until then is outdated.
    this.wanted.delete(video);
    video.currentTime = (frame + 0.5) / this.fps;
  }

  show(frame) {
    this.frame = Math.max(0, Math.min(this.frames - 1, frame));
    for (const video of this.videos) this.seek(video, this.frame);
    this.onFrame(this.frame);
  }

  step(by) {
    this.pause();
    this.show(this.frame + by);
  }

  async play() {
    if (this.playing || !this.ready.length) return;
    this.playing = true;
    if (this.frame >= this.frames - 1) this.show(0);
    this.onFrame(this.frame);
    await Promise.all(this.ready.map((video) => video.play().catch(() => null)));
    const tick = () => {
      if (!this.playing) return;
      this.keepStep();
      requestAnimationFrame(tick);
    };
    tick();
  }

  keepStep() {
    const videos = this.ready;
    const slowest = Math.min(...videos.map((video) => video.currentTime));
    for (const video of videos) {
      const ahead = (video.currentTime - slowest) * this.fps;
      const rate = ahead > WAITS ? 0 : ahead > SLOWS ? this.rate * 0.8 : this.rate;
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
    this.frame = Math.min(...videos.map((video) => this.frameOf(video)));
    this.onFrame(this.frame);
    if (videos.some((video) => video.ended) || this.frame >= this.frames - 1) this.pause();
  }

  pause() {
    const was = this.playing;
    this.playing = false;
    for (const video of this.videos) video.pause();
    if (was) this.show(this.frame);
  }

  close() {
    this.playing = false;
    for (const video of this.videos) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
    this.videos = [];
  }
}
