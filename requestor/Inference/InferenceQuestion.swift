import Federation
import Jobs
import NeuralNetwork
import Tensors

/// What is asked of a model, by content: with it a stopped prediction is known again, and refused when it is another.
public struct InferenceQuestion: Sendable, Equatable, Codable {
    /// SHA-256 of the weights file's bytes.
    public var modelSHA256: String
    /// SHA-256 of type, shape and bytes of the rows.
    public var rowsSHA256: String
    /// Whether the model's bare outputs are wanted, or what people ask for.
    public var form: String
    public var cut: ShardCut
    /// As people named them, for messages only.
    public var model: String
    public var data: String
    /// Which rows of the data, in words: "test, from 0".
    public var part: String

    public init(
        modelSHA256: String, rowsSHA256: String, form: WorkerJob.PredictionForm, cut: ShardCut, model: String,
        data: String, part: String
    ) {
        self.modelSHA256 = modelSHA256
        self.rowsSHA256 = rowsSHA256
        self.form = Self.text(of: form)
        self.cut = cut
        self.model = model
        self.data = data
        self.part = part
    }

    /// What is asked of each row.
    public static func text(of form: WorkerJob.PredictionForm) -> String {
        if case .text(let text) = form { "text \(canonicalJSON(text))" } else { form.name }
    }

    enum CodingKeys: String, CodingKey {
        case form, cut, model, data, part
        case modelSHA256 = "model_sha256"
        case rowsSHA256 = "rows_sha256"
    }

    /// What is different in another question, by name; empty where the answer is the same. How the rows were cut is not
    /// part of it: the cut of before is kept.
    func differences(to other: InferenceQuestion) -> [String] {
        var found: [String] = []
        func same(_ what: String, _ mine: String, _ theirs: String) -> String {
            mine == theirs ? "the \(what) is not what it was (\(theirs))" : "the \(what) was \(mine) and is \(theirs)"
        }
        if modelSHA256 != other.modelSHA256 { found.append(same("model", model, other.model)) }
        if part != other.part || cut.rows != other.cut.rows {
            found.append("the rows were \(part) (\(cut.rows)) and are \(other.part) (\(other.cut.rows))")
        }
        if rowsSHA256 != other.rowsSHA256, part == other.part || data != other.data {
            found.append(same("data", data, other.data))
        }
        if form != other.form { found.append("the \(form) were asked for and now the \(other.form)") }
        return found
    }

    /// The digest of rows `[N, …]`.
    public static func digest(of rows: Tensor) -> String {
        var digest = SHA256Digest()
        digest.update(Array("\(rows.dtype.rawValue) \(rows.shape)".utf8))
        rows.withUnsafeBytes { digest.update($0) }
        return digest.hex()
    }
}
