import Datasets
import Tensors

/// The data of a run: by what it is known again wherever it lies, what its numbers stand for, and what was decided when it
/// was first read. `data.json`
public struct RunData: Sendable, Codable, Equatable {
    public var name: String
    /// Where it was, absolute.
    public var path: String
    /// Where it was as seen from the run's folder, so that both may be moved together.
    public var relativePath: String
    public var fingerprint: DataFingerprint
    public var schema: Schema
    public var decisions: [Decision]

    enum CodingKeys: String, CodingKey {
        case name, path, fingerprint, schema, decisions
        case relativePath = "relative_path"
    }

    /// - Parameter schema: with the source.
    init(_ dataset: Dataset, _ fingerprint: DataFingerprint, _ schema: Schema, path: String, folder: String) {
        name = dataset.name
        self.path = path
        relativePath = Self.relative(path, to: folder)
        self.fingerprint = fingerprint
        self.schema = schema
        decisions = dataset.decisions
    }

    private static func relative(_ path: String, to folder: String) -> String {
        let target = path.split(separator: "/")
        let base = folder.split(separator: "/")
        let common = zip(target, base).prefix { $0 == $1 }.count
        return ([String](repeating: "..", count: base.count - common) + target.dropFirst(common).map(String.init))
            .joined(separator: "/")
    }
}
