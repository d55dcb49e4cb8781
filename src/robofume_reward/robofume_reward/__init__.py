"""The vision-language reward of RoboFuME: model, fine-tuning, judge and reward node."""
