import Datasets
import Federation
import NeuralNetwork
import Tensors

/// How predictions are written.
public enum PredictionFormat: String, Sendable, CaseIterable {
    /// A table for people and spreadsheets.
    case csv
    /// Arrays for numpy.
    case npz
    case safetensors
    /// A line of JSON for each example.
    case jsonl

    /// What the name of a file says; safetensors where it says nothing.
    public init(path: String) {
        let name = path.lowercased()
        let endings: [(String, PredictionFormat)] = [
            (".csv", .csv), (".npz", .npz), (".jsonl", .jsonl), (".ndjson", .jsonl),
        ]
        self = endings.first { name.hasSuffix($0.0) }?.1 ?? .safetensors
    }
}

/// What is written of each example, beside its row and its label.
public enum PredictionContents: String, Sendable, CaseIterable {
    /// The predicted class and all outputs.
    case all
    /// The most likely classes, with their probabilities.
    case top
    /// The predicted class and its probability.
    case classes
}

/// How predictions are written, and what of them.
public struct PredictionWriting: Sendable {
    /// nil: as the output's name says (see ``PredictionFormat/init(path:)``).
    public var format: PredictionFormat?
    public var contents: PredictionContents
    /// Of ``PredictionContents/top``: how many classes.
    public var top: Int

    public init(_ format: PredictionFormat? = nil, contents: PredictionContents = .all, top: Int = 3) {
        self.format = format
        self.contents = contents
        self.top = top
    }

    func validate() throws(DeMLError) {
        guard top < 1 else { return }
        throw DeMLError(.usage, "--top is to be 1 or more, not \(top)")
    }
}

/// Predictions of a model with all that is known of their examples, in order.
struct PredictionTable {
    let model: ModelDescription
    let schema: Schema
    /// Rows of the file, counted from 0.
    let rows: [Int]
    /// `[N, outputs]`
    let outputs: [Float]
    /// The true classes, or numbers `[N, outputs]`, where they are known.
    let labels: [Int]?
    let targets: [Float]?

    var count: Int { rows.count }
    var isClassifier: Bool { model.loss == .crossEntropy }
    var width: Int { outputs.count / max(1, rows.count) }

    func name(ofClass index: Int) -> String {
        schema.classNames.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? "\(index)"
    }

    func values(_ index: Int) -> ArraySlice<Float> { outputs[index * width..<(index + 1) * width] }

    /// The first of the most likely classes.
    func best(_ index: Int) -> Int {
        let values = values(index)
        return (values.indices.max { (values[$0], -$0) < (values[$1], -$1) } ?? values.startIndex) - values.startIndex
    }

    /// The most likely classes, of equal ones the first first.
    func top(_ index: Int, _ count: Int) -> [Int] {
        let values = Array(values(index))
        return Array(values.indices.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(count))
    }

    func truth(_ index: Int) -> String? {
        if let labels { return name(ofClass: labels[index]) }
        guard let targets else { return nil }
        let width = targets.count / max(1, count)
        return targets[index * width..<(index + 1) * width].map { "\($0)" }.joined(separator: " ")
    }

    func prediction(_ index: Int) -> Prediction {
        let row = values(index).map(Double.init)
        let best = best(index)
        return Prediction(
            example: rows[index], predicted: isClassifier ? name(ofClass: best) : nil,
            probability: isClassifier ? row[best] : nil, truth: truth(index), outputs: row)
    }

    // MARK: Writing

    /// Writes all of it, or nothing.
    /// - Throws: `usage` for classes of a model that has none, and what writing throws.
    func write(to path: String, as writing: PredictionWriting) throws(DeMLError) {
        let contents = writing.contents
        try check(contents)
        let top = min(writing.top, width)
        switch writing.format ?? PredictionFormat(path: path) {
        case .csv: try writeLines(to: path, header: header(contents, top)) { line($0, contents, top) }
        case .jsonl:
            try writeLines(to: path, header: nil) { (index) throws(DeMLError) in try json(index, contents, top) }
        case .npz:
            var file = try NPZWriter(path)
            for (name, tensor) in arrays(contents, top) { try file.add(name, .numbers(tensor)) }
            if isClassifier { try file.add("class_names", .texts((0..<width).map(name(ofClass:)))) }
            try file.commit()
        case .safetensors:
            _ = try Safetensors(
                tensors: arrays(contents, top), metadata: [Schema.key: schema.canonicalJSON]
            ).write(to: path)
        }
    }

    /// Throws `usage` for classes of a model that has none.
    func check(_ contents: PredictionContents) throws(DeMLError) {
        guard contents == .all || isClassifier else {
            throw DeMLError(
                .usage, "a model with the loss \(model.loss.name) predicts numbers, of which all are written",
                place: "--contents \(contents.rawValue)")
        }
    }

    private func arrays(_ contents: PredictionContents, _ top: Int) -> [(name: String, tensor: Tensor)] {
        var arrays: [(name: String, tensor: Tensor)]
        switch contents {
        case .all: arrays = [("predictions", Tensor(shape: [count] + model.outputShape, floats: outputs))]
        case .classes:
            let best = (0..<count).map { self.best($0) }
            arrays = [
                ("classes", Tensor(shape: [count], int64s: best.map { Int64($0) })),
                (
                    "probabilities",
                    Tensor(shape: [count], floats: best.enumerated().map { outputs[$0 * width + $1] })
                ),
            ]
        case .top:
            let best = (0..<count).map { self.top($0, top) }
            arrays = [
                ("classes", Tensor(shape: [count, top], int64s: best.joined().map { Int64($0) })),
                (
                    "probabilities",
                    Tensor(
                        shape: [count, top],
                        floats: best.enumerated().flatMap { (row, classes) in classes.map { outputs[row * width + $0] }
                        })
                ),
            ]
        }
        // Row numbers and, where there are some, the true labels stand beside the outputs, so that a file joins back.
        arrays.append(("rows", Tensor(shape: [count], int64s: rows.map { Int64($0) })))
        if let labels { arrays.append(("labels", Tensor(shape: [count], int64s: labels.map { Int64($0) }))) }
        if let targets {
            arrays.append(("labels", Tensor(shape: [count, targets.count / max(1, count)], floats: targets)))
        }
        return arrays
    }

    /// Line by line, a piece of the file at a time.
    private func writeLines(
        to path: String, header: String?, _ line: (Int) throws(DeMLError) -> String
    ) throws(DeMLError) {
        let file = try DurableFile(path)
        if let header { try file.write(Array((header + "\n").utf8)) }
        for index in 0..<count { try file.write(Array((try line(index) + "\n").utf8)) }
        try file.commit()
    }

    // MARK: CSV

    private func header(_ contents: PredictionContents, _ top: Int) -> String {
        var header = ["example"]
        if labels != nil || targets != nil { header.append("label") }
        switch contents {
        case .all:
            if isClassifier { header.append("predicted") }
            header += (0..<width).map {
                isClassifier
                    ? CSVText.field(name(ofClass: $0))
                    : CSVText.field(
                        schema.targetColumns.indices.contains($0) ? schema.targetColumns[$0] : "output\($0)")
            }
        case .classes: header += ["predicted", "probability"]
        case .top: header += (1...top).flatMap { ["predicted_\($0)", "probability_\($0)"] }
        }
        return header.joined(separator: ",")
    }

    private func line(_ index: Int, _ contents: PredictionContents, _ top: Int) -> String {
        var fields = ["\(rows[index])"]
        if let truth = truth(index) { fields.append(CSVText.field(truth)) }
        switch contents {
        case .all:
            if isClassifier { fields.append(CSVText.field(name(ofClass: best(index)))) }
            fields += values(index).map { "\($0)" }
        case .classes, .top:
            for label in contents == .top ? self.top(index, top) : [best(index)] {
                fields += [CSVText.field(name(ofClass: label)), "\(outputs[index * width + label])"]
            }
        }
        return fields.joined(separator: ",")
    }

    // MARK: JSON

    private struct Line: Encodable {
        struct Choice: Encodable {
            var predicted: String
            var probability: Double
        }

        var example: Int
        var predicted: String
        var probability: Double
        var truth: String?
        var top: [Choice]?
    }

    private func json(_ index: Int, _ contents: PredictionContents, _ top: Int) throws(DeMLError) -> String {
        do {
            guard contents != .all else { return try RunJSON.line(prediction(index)) }
            func choice(_ label: Int) -> Line.Choice {
                Line.Choice(predicted: name(ofClass: label), probability: Double(outputs[index * width + label]))
            }
            let best = choice(best(index))
            return try RunJSON.line(
                Line(
                    example: rows[index], predicted: best.predicted, probability: best.probability, truth: truth(index),
                    top: contents == .top ? self.top(index, top).map(choice) : nil))
        } catch {
            throw DeMLError(.internal, "a prediction cannot be written as JSON", cause: error)
        }
    }
}

/// A field of a CSV file as RFC 4180 writes it.
enum CSVText {
    static func field(_ text: String) -> String {
        guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}
