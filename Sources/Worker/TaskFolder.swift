import Tensors

/// The folders and file names of one task, the same on this machine and in a Golem guest.
public struct TaskFolder: Sendable, Hashable {
    /// The folder that holds `input`, `output` and `work`.
    public var root: String

    public init(_ root: String) {
        self.root = root
    }

    /// Where the volumes of the provider image are.
    public static let guest = TaskFolder("/golem")

    public var input: String { Files.path(root, "input") }
    public var output: String { Files.path(root, "output") }
    /// The working directory.
    public var work: String { Files.path(root, "work") }

    public var shard: String { Files.path(input, "shard.safetensors.gz") }
    public var weights: String { Files.path(input, "weights.safetensors") }
    public var delta: String { Files.path(output, "delta.safetensors.gz") }
    public var report: String { Files.path(output, "report.json") }
    public var predictions: String { Files.path(output, "predictions.safetensors.gz") }

    /// Makes the three folders.
    public func create() throws(DeMLError) {
        for folder in [input, output, work] {
            try Files.createDirectory(folder)
        }
    }
}
