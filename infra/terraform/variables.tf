# What differs between installations.

terraform {
  required_version = ">= 1.7"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

variable "project" {
  description = "The project (FIRESTORE_PROJECT)."
  type        = string
}

variable "region" {
  description = "Region of the queues (OSCILLINK_TASKS_LOCATION) and of the data."
  type        = string
}

variable "database" {
  description = "The Firestore database (FIRESTORE_DATABASE)."
  type        = string
  default     = "(default)"
}

variable "queue_prefix" {
  description = "Begins every queue's id (OSCILLINK_TASKS_QUEUE_PREFIX)."
  type        = string
  default     = "oscillink-"
}

variable "page_channels" {
  description = "Notification channels (their resource names) of alerts that wake someone."
  type        = list(string)
  default     = []
}

variable "ticket_channels" {
  description = "Notification channels of alerts for working hours."
  type        = list(string)
  default     = []
}

variable "host" {
  description = "Public host name of the gateway, for the uptime check; empty: none."
  type        = string
  default     = ""
}

provider "google" {
  project = var.project
  region  = var.region
}
