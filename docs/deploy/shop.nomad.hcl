# Nodes of one app: Cluster(os.environ["SPRAG_ENGINE"], node=os.environ["SPRAG_NODE"], ttl=10.0).
job "shop" {
  type = "service"

  # One after another, each when the one before is healthy.
  update {
    max_parallel     = 1
    min_healthy_time = "5s"
  }

  group "nodes" {
    count = 3

    # A machine that is lost takes no more than one of them with it.
    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    network {
      port "http" {}
    }

    service {
      name     = "shop"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "shop" {
      driver = "docker"

      # More than --shutdown-timeout: who is killed hands nothing over.
      kill_signal  = "SIGTERM"
      kill_timeout = "45s"

      config {
        image = "registry.example/shop:1.0"
        ports = ["http"]
        args  = ["sprag", "run", "shop.main:app", "--host=0.0.0.0", "--port=${NOMAD_PORT_http}", "--shutdown-timeout=30"]
      }

      template {
        destination = "secrets/shop.env"
        env         = true
        data        = "SPRAG_ENGINE={{ with nomadVar \"nomad/jobs/shop\" }}{{ .engine }}{{ end }}"
      }

      env {
        # The same after each start: its partitions come back to it.
        SPRAG_NODE       = "shop-${NOMAD_ALLOC_INDEX}"
        SPRAG_LOG_FORMAT = "json"
      }

      resources {
        cpu    = 250
        memory = 256
      }
    }
  }
}
