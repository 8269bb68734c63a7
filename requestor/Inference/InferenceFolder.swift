import Federation
import Fleets
import Foundation
import NeuralNetwork
import Tensors

/// Where a prediction keeps what is done, so that one that was killed loses no more than the shards in hand.
///
/// ```
/// WORK/question.json                what is asked (InferenceQuestion)
///      done/000012.safetensors      the answer to a shard, with who gave it and the digest of its values
///      model.safetensors            the model, where it came from a file of another tool
///      session/                     shards on their way, task folders of workers, a fleet's own files
///      golem-run                    the name of its ledger
///      lock                         held while a process works on it
/// ```
///
/// A shard is done when its file is there: it is written by rename, and taken away again when its provider is found lying.
struct InferenceFolder: Sendable {
    let path: String

    var question: String { path + "/question.json" }
    var done: String { path + "/done" }
    var model: String { path + "/model.safetensors" }
    var session: String { path + "/session" }
    var lock: String { path + "/lock" }

    func answer(_ shard: Int) -> String {
        let digits = String(shard)
        return "\(done)/\(String(repeating: "0", count: max(0, 6 - digits.count)))\(digits)\(Self.ending)"
    }

    private enum Key {
        static let id = "deml.provider_id"
        static let name = "deml.provider"
        static let digest = "deml.values_sha256"
    }

    /// Makes the folder, or goes on with what is in it.
    /// - Returns: the question with the cut that is kept.
    /// - Throws: `usage` where the folder is of another question, or is something else.
    func enter(_ asked: InferenceQuestion) throws(DeMLError) -> InferenceQuestion {
        if Files.exists(question) {
            let before: InferenceQuestion
            let bytes = try Files.read(question, maximumBytes: 1 << 20)
            do { before = try RunJSON.decode(InferenceQuestion.self, from: bytes) } catch {
                throw DeMLError(.malformed, "it is not what DeML writes there", place: question, cause: error)
            }
            let differences = before.differences(to: asked)
            guard differences.isEmpty else {
                throw DeMLError(
                    .usage, "what was begun here is something else: " + differences.joined(separator: "; "),
                    place: path,
                    hint: "ask what was asked before, choose another output, or remove the folder")
            }
            var kept = asked
            kept.cut = ShardCut(rows: before.cut.rows, rowsPerShard: before.cut.rowsPerShard)
            return kept
        }
        let others = try Files.names(in: path).filter {
            !["lock", "golem-run", "done", "session", "model.safetensors"].contains($0)
        }
        guard others.isEmpty else {
            throw DeMLError(
                .usage, "the folder for the work holds something else: \(others[0].quotedForMessage)", place: path,
                hint: "choose another output, or move it away")
        }
        do { try Files.writeAtomically(try RunJSON.encode(asked), to: question) } catch {
            throw error as? DeMLError ?? DeMLError(.internal, "\(error)", place: question)
        }
        return asked
    }

    /// Keeps the answer to a shard.
    /// - Parameter values: `[rows, outputs]`
    func keep(_ values: [Float], rows: Int, of shard: Int, from provider: Provider) throws(DeMLError) {
        let tensor = Tensor(shape: [rows, values.count / max(1, rows)], floats: values)
        _ = try Safetensors(
            tensors: [("values", tensor)],
            metadata: [Key.id: provider.id, Key.name: provider.name, Key.digest: Self.digest(tensor)]
        ).write(to: answer(shard))
    }

    func drop(_ shard: Int) throws(DeMLError) { try Files.remove(answer(shard)) }

    /// Makes the place for answers, without what a process that was killed had only begun to write there.
    func prepare() throws(DeMLError) {
        try Files.createDirectory(done)
        for name in try Files.names(in: done) where !name.hasSuffix(Self.ending) {
            try Files.remove(Files.path(done, name))
        }
    }

    /// How many answers are there.
    var answerCount: Int { (try? Files.names(in: done))?.count { $0.hasSuffix(Self.ending) } ?? 0 }

    private static let ending = ".safetensors"

    /// The answer to a shard and who gave it; nil where there is none, or it is damaged, and so must be asked for again.
    func read(_ shard: Int, rows: Int, outputs: Int) throws(DeMLError) -> (values: Tensor, provider: Provider)? {
        let path = answer(shard)
        guard Files.exists(path) else { return nil }
        guard let file = try? Safetensors(contentsOf: path), let values = file["values"], values.dtype == .f32,
            values.shape == [rows, outputs], let id = file.metadata[Key.id], let name = file.metadata[Key.name],
            file.metadata[Key.digest] == Self.digest(values)
        else {
            try Files.remove(path)
            return nil
        }
        return (values, Provider(id: id, name: name))
    }

    private static func digest(_ tensor: Tensor) -> String {
        var digest = SHA256Digest()
        tensor.withUnsafeBytes { digest.update($0) }
        return digest.hex()
    }

    /// Takes everything away: the answer is elsewhere.
    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
