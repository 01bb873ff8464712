"""A cast of people ► their fakes in all ordered pairs, scored, sorted and documented.

* :mod:`~faceswap_hq.curation.consent`: on what basis each person's footage is used; nothing begins without it.
* :mod:`~faceswap_hq.curation.plan`: which pairs, on which frames, and which cannot work.
* :mod:`~faceswap_hq.curation.tasks`: extract(clip), train(group), render(pair), score(pair). Plain data and files in,
  plain data and files out, so that they can run anywhere.
* :mod:`~faceswap_hq.curation.thresholds`: what a fake must reach, and how fakes are ranked.
* :mod:`~faceswap_hq.curation.publish`: ``out/`` as ``stress-test --fakes`` takes it, and what was rejected.
* :mod:`~faceswap_hq.curation.review`: what a person decides on ``out/review.html``, put above the thresholds.
* :mod:`~faceswap_hq.curation.run`: all of it in order, as often as needed.
"""
