# Indexes and TTL policies of Firestore, from the file that the Firebase CLI can deploy too. A test
# holds the file to the queries that the program makes.

locals {
  firestore = jsondecode(file("${path.module}/../firestore/firestore.indexes.json"))

  firestore_indexes = {
    for index in local.firestore.indexes :
    join(".", concat([index.collectionGroup], [
      for field in index.fields : "${field.fieldPath}_${lower(field.order)}"
    ])) => index
  }

  firestore_fields = {
    for field in local.firestore.fieldOverrides :
    "${field.collectionGroup}.${field.fieldPath}" => field
  }
}

resource "google_firestore_index" "composite" {
  for_each    = local.firestore_indexes
  database    = var.database
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value.fieldPath
      order      = fields.value.order
    }
  }
}

resource "google_firestore_field" "override" {
  for_each   = local.firestore_fields
  database   = var.database
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  # Empty: the field has no index of its own.
  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes
      content {
        order       = indexes.value.order
        query_scope = indexes.value.queryScope
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []
    content {}
  }
}
