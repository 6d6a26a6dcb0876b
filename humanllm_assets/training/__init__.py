"""Full fine-tuning by DeepSpeed and merging by mergekit (M1-M3), each in processes of its own."""
