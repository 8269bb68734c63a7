import Fleets
import Jobs
import Tensors

/// Where the worker and its files lie in the guest, and which of them stay there.
enum GuestFiles {
    static let worker = "/usr/local/bin/deml-worker"

    /// Where an input lies. What changes from job to job overwrites what was there, lest it fill the guest's disk; what
    /// is used again is there once, under a name of its own.
    static func path(_ role: WorkerJob.Role, _ file: StoredFile, of kind: WorkerJob.Kind) -> String {
        isLasting(role, kind)
            ? "/golem/input/\(role.rawValue)-\(file.sha256.prefix(16)).safetensors.gz"
            : "/golem/input/\(role.rawValue).safetensors"
    }

    /// Training changes the weights with every round and keeps its shards; a finished model is used on one shard after the
    /// other.
    static func isLasting(_ role: WorkerJob.Role, _ kind: WorkerJob.Kind) -> Bool {
        if case .train = kind { role != .weights } else { role == .weights }
    }

    /// Digests of the inputs that stay in a machine: one that has them is preferred.
    static func lastingDigests(of job: FleetJob) throws(DeMLError) -> Set<String> {
        var digests: Set<String> = []
        for (role, input) in job.inputs where isLasting(role, job.kind) { digests.insert(try input.stored().sha256) }
        return digests
    }

    static func output(_ kind: WorkerJob.Kind) -> String? {
        kind.output.map { "/golem/output/\($0).safetensors.gz" }
    }

    /// One name an attempt, so that a report from before is never taken for this one's.
    static func report(_ job: FleetJob) -> String { "/golem/output/report-\(job.name).json" }
}
