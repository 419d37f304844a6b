# Topics, their dead letters, and the copy of job and usage events in BigQuery. A test holds the file
# to the topics that the program publishes on. Subscriptions with a handler are made by the program.

locals {
  topics          = jsondecode(file("${path.module}/../pubsub/topics.json"))
  bigquery_topics = { for name, topic in local.topics : name => topic if topic.bigquery }
}

resource "google_pubsub_topic" "events" {
  for_each                   = local.topics
  name                       = each.key
  message_retention_duration = "604800s"
}

resource "google_pubsub_topic" "dead_letter" {
  for_each                   = local.topics
  name                       = "${each.key}-dead-letter"
  message_retention_duration = "604800s"
}

# Keeps dead letters until their handler comes.
resource "google_pubsub_subscription" "dead_letter" {
  for_each                   = local.topics
  name                       = "${each.key}-dead-letter.dead-letters"
  topic                      = google_pubsub_topic.dead_letter[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"
  enable_message_ordering    = true

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "60s"
  }
}

resource "google_bigquery_dataset" "events" {
  dataset_id = "oscillink_events"
  location   = var.region
}

resource "google_bigquery_table" "events" {
  for_each            = local.bigquery_topics
  dataset_id          = google_bigquery_dataset.events.dataset_id
  table_id            = replace(each.key, "-", "_")
  deletion_protection = true

  time_partitioning {
    type  = "DAY"
    field = "publish_time"
  }

  schema = jsonencode([
    { name = "subscription_name", type = "STRING", mode = "NULLABLE" },
    { name = "message_id", type = "STRING", mode = "NULLABLE" },
    { name = "publish_time", type = "TIMESTAMP", mode = "NULLABLE" },
    { name = "data", type = "JSON", mode = "NULLABLE" },
    { name = "attributes", type = "JSON", mode = "NULLABLE" },
  ])
}

resource "google_pubsub_subscription" "bigquery" {
  for_each                   = local.bigquery_topics
  name                       = "${each.key}.bigquery"
  topic                      = google_pubsub_topic.events[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  bigquery_config {
    table          = "${var.project}.${google_bigquery_dataset.events.dataset_id}.${google_bigquery_table.events[each.key].table_id}"
    write_metadata = true
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letter[each.key].id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [google_project_iam_member.pubsub_bigquery]
}

# Pub/Sub itself writes to BigQuery and sets dead letters aside.
data "google_project" "this" {}

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_project_iam_member" "pubsub_bigquery" {
  project = var.project
  role    = "roles/bigquery.dataEditor"
  member  = local.pubsub_agent
}

resource "google_project_iam_member" "pubsub_publisher" {
  project = var.project
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_project_iam_member" "pubsub_subscriber" {
  project = var.project
  role    = "roles/pubsub.subscriber"
  member  = local.pubsub_agent
}
