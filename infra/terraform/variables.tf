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

provider "google" {
  project = var.project
  region  = var.region
}
