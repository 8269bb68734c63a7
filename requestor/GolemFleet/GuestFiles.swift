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

/// What the worker prints: epochs as they end, and at the end the digest of the delta.
struct WorkerOutput {
    private var rest = ""
    private(set) var deltaSHA256: String?

    /// Takes a piece of stdout as it came, perhaps with half a line at its end; returns the epochs in it.
    mutating func take(_ text: String) -> [EpochProgress] {
        rest += text
        var found: [EpochProgress] = []
        while let end = rest.firstIndex(of: "\n") {
            let line = String(rest[..<end])
            if let digest = WorkerCommand.deltaDigest(fromLine: line) {
                deltaSHA256 = digest
            } else if let epoch = WorkerCommand.epoch(fromLine: line) {
                found.append(epoch)
            }
            rest.removeSubrange(...end)
        }
        if rest.utf8.count > 4096 { rest = "" }
        return found
    }
}
