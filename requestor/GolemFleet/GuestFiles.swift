import Federation

/// Where the worker and its files lie in the guest.
enum GuestFiles {
    static let worker = "/usr/local/bin/deml-worker"
    static let weights = "/golem/input/weights.safetensors"
    static let delta = "/golem/output/delta.safetensors.gz"

    static func shard(_ index: Int) -> String { "/golem/input/shard-\(index).safetensors.gz" }

    /// One name an attempt, so that a report from before is never taken for this one's.
    static func report(_ assignment: TrainAssignment) -> String {
        "/golem/output/report-\(assignment.round)-\(assignment.client)-\(assignment.attempt).json"
    }
}
