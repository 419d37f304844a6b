# The task queues. A test holds the file to the limits that the program gives an emulator.

locals {
  queues = jsondecode(file("${path.module}/../queues/queues.json"))
}

resource "google_cloud_tasks_queue" "queue" {
  for_each = local.queues
  name     = "${var.queue_prefix}${each.key}"
  location = var.region

  rate_limits {
    max_dispatches_per_second = each.value.max_dispatches_per_second
    max_concurrent_dispatches = each.value.max_concurrent_dispatches
  }

  retry_config {
    max_attempts  = each.value.max_attempts
    min_backoff   = each.value.min_backoff
    max_backoff   = each.value.max_backoff
    max_doublings = each.value.max_doublings
  }
}
