// Fake and target in step: the fake's clock is the master, the target is pulled to it; their difference on a canvas.
"use strict";

function player(fake, target, source, canvas, told) {
  const context = canvas.getContext("2d");
  const shown = new Map(); // video -> media time of the frame that is on the screen
  let rate = 25, frames = 1, speed = 1, wanted = false, at = 0;

  const timed = "requestVideoFrameCallback" in fake;
  const time = (video) => (timed && shown.has(video) ? shown.get(video) : video.currentTime);
  const frameAt = (seconds) => Math.min(frames - 1, Math.max(0, Math.floor(seconds * rate + 0.01)));
  const settled = () => !fake.seeking && !target.seeking;

  function draw() {
    if (fake.readyState < 2 || target.readyState < 2) return;
    if (canvas.width !== fake.videoWidth || canvas.height !== fake.videoHeight) {
      canvas.width = fake.videoWidth;
      canvas.height = fake.videoHeight;
    }
    context.globalCompositeOperation = "copy";
    context.drawImage(target, 0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "difference";
    context.drawImage(fake, 0, 0, canvas.width, canvas.height);
  }

  // A small gap is closed by playing a fifth faster or slower, a large one by a jump. Each change of the rate costs the
  // browser some milliseconds: so there are three rates only, and one is kept until the gap is closed.
  function pull() {
    if (!wanted || target.ended || target.seeking) return;
    const gap = target.currentTime - fake.currentTime;
    if (Math.abs(gap) > 0.25) target.currentTime = fake.currentTime;
    const closing = (target.playbackRate - speed) * gap < 0 && Math.abs(gap) > 0.1 / rate;
    const pulled = closing || Math.abs(gap) > 0.4 / rate ? speed * (gap > 0 ? 0.8 : 1.2) : speed;
    if (target.playbackRate !== pulled) target.playbackRate = pulled;
  }

  function seen(video, seconds) {
    shown.set(video, seconds);
    if (wanted) {
      pull();
      if (Math.abs(time(fake) - time(target)) < 0.5 / rate) draw(); // never two different frames
      if (video === fake) told((at = frameAt(time(fake))));
    } else if (settled()) draw();
  }

  for (const video of [fake, target]) {
    if (timed) {
      const next = (_, frame) => { seen(video, frame.mediaTime); video.requestVideoFrameCallback(next); };
      video.requestVideoFrameCallback(next);
    }
    video.addEventListener("loadeddata", () => seen(video, video.currentTime));
    video.addEventListener("seeked", () => { if (!wanted && settled()) draw(); });
  }
  fake.addEventListener("ended", () => { if (wanted) { seek(0); start(); } });

  function watch() { // where the browser does not tell of frames
    if (!wanted || timed) return;
    pull();
    draw();
    told((at = frameAt(fake.currentTime)));
    requestAnimationFrame(watch);
  }

  function start() {
    for (const video of [fake, target, source]) {
      video.playbackRate = speed;
      if (video.src) video.play().catch(() => {}); // stopped before it began, or it cannot be played: said elsewhere
    }
    watch();
  }

  // To the middle of a frame, so that rounding never shows its neighbour.
  function seek(frame) {
    at = Math.min(frames - 1, Math.max(0, frame));
    fake.currentTime = target.currentTime = (at + 0.5) / rate;
    told(at);
  }

  function play(on = !wanted) {
    wanted = on;
    if (on) {
      target.currentTime = fake.currentTime;
      start();
    } else {
      for (const video of [fake, target, source]) video.pause();
      seek(frameAt(time(fake)));
    }
    return wanted;
  }

  return {
    open(item) {
      rate = item.rate || 25;
      frames = Math.max(1, item.frames);
      at = 0;
      shown.clear();
      context.clearRect(0, 0, canvas.width, canvas.height);
      fake.src = item.fake;
      target.src = item.real;
      if (!item.look) source.removeAttribute("src");
      else if (source.getAttribute("src") !== item.look) source.src = item.look;
      told(0);
      if (wanted) start();
    },
    play,
    seek(frame) { const on = wanted; if (on) play(false); seek(frame); if (on) play(true); },
    step(count) { if (wanted) play(false); seek(at + count); },
    speed(value) { speed = value; for (const video of [fake, target, source]) video.playbackRate = value; },
  };
}
