# Alerts and the dashboard of Cloud Monitoring, over metrics that Managed Service for Prometheus has
# collected. Both files are made from the rules and the dashboard of infra/monitoring; a test holds
# them together.

locals {
  alert_policies = jsondecode(file("${path.module}/../monitoring/cloud/alert-policies.json"))
}

resource "google_monitoring_alert_policy" "alert" {
  for_each              = local.alert_policies
  display_name          = each.key
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = each.value.severity == "CRITICAL" ? var.page_channels : var.ticket_channels

  conditions {
    display_name = each.key

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "30s"
      alert_rule          = each.key
      rule_group          = "oscillink-alerts"
      # The policies are made before the first instance has exported anything.
      disable_metric_validation = true
    }
  }

  documentation {
    content   = each.value.documentation
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

resource "google_monitoring_dashboard" "oscillink" {
  dashboard_json = file("${path.module}/../monitoring/cloud/dashboard.json")
}

# From outside: whether anybody can reach the service at all.
resource "google_monitoring_uptime_check_config" "health" {
  count        = var.host == "" ? 0 : 1
  display_name = "Oscillink /health"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/health"
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = var.host
    }
  }
}
