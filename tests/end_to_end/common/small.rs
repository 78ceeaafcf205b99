//! The smallest application that has everything: one image, one Deployment, one load balancer, one smoke step.

use super::Project;

/// A project with the smallest application in a namespace of its own.
pub(crate) fn small(name: &str) -> Project {
    let project = Project::new(name);
    project
        .write("deploy.yml", &deploy_yml(name))
        .write(
            "web/Dockerfile",
            "FROM busybox:1.35\nCOPY www /www\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
        )
        .write("web/www/index.html", &format!("hello from {name}\n"))
        .write("k8s/web.yaml", &manifests(name));
    project.commit();
    project
}

/// Its deploy.yml.
fn deploy_yml(name: &str) -> String {
    format!(
        "name: {name}
cluster: todo-prod
registry: todo-app-registry
images:
  {name}: ./web
manifests: [k8s/]
rollout: {{ deadline: 90s, settle: 1s }}
smoke:
  - get: /
    expect: {{ status: 200, body: hello }}
"
    )
}

/// Its manifests.
fn manifests(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: web }}
spec:
  replicas: 2
  selector: {{ matchLabels: {{ app: web }} }}
  template:
    metadata: {{ labels: {{ app: web }} }}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {name}
          ports: [{{ containerPort: 8080 }}]
          readinessProbe: {{ httpGet: {{ path: /, port: 8080 }}, periodSeconds: 1 }}
          resources: {{ requests: {{ cpu: 5m, memory: 8Mi }} }}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    service.beta.kubernetes.io/do-loadbalancer-name: {name}
    service.beta.kubernetes.io/do-loadbalancer-type: REGIONAL
spec:
  type: LoadBalancer
  selector: {{ app: web }}
  ports: [{{ port: 80, targetPort: 8080 }}]
"
    )
}
