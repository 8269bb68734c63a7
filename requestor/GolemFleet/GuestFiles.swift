import Fleets
import Jobs
import Tensors

/// Where the worker and its files lie in the guest, and which of them stay there.
enum GuestFiles {
    static let worker = "/usr/local/bin/deml-worker"

    /// Where an input lies. Weights change with every round and overwrite each other, lest they fill the guest's disk;
    /// other inputs are there once, under a name of their own.
    static func path(_ role: WorkerJob.Role, _ file: StoredFile) -> String {
        isLasting(role)
            ? "/golem/input/\(role.rawValue)-\(file.sha256.prefix(16)).safetensors.gz"
            : "/golem/input/\(role.rawValue).safetensors"
    }

    static func isLasting(_ role: WorkerJob.Role) -> Bool { role != .weights }

    /// Digests of the inputs that stay in a machine: one that has them is preferred.
    static func lastingDigests(of job: FleetJob) throws(DeMLError) -> Set<String> {
        var digests: Set<String> = []
        for (role, input) in job.inputs where isLasting(role) { digests.insert(try input.stored().sha256) }
        return digests
    }

    static func output(_ kind: WorkerJob.Kind) -> String? {
        kind.output.map { "/golem/output/\($0).safetensors.gz" }
    }

    /// One name an attempt, so that a report from before is never taken for this one's.
    static func report(_ job: FleetJob) -> String { "/golem/output/report-\(job.name).json" }
}
