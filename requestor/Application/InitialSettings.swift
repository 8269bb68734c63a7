import Datasets
import Federation
import Foundation
import Tensors

/// The settings that a run of a dataset would begin with, as a file for editing.
public struct InitialSettings: Sendable {
    public var text: String
    /// Where it was written, as a person would name it; nil: nowhere.
    public var file: String?
    public var decisions: [Decision]
}

extension Application {
    /// Writes the YAML that `deml train --data` would choose, with comments. Never over a file that is there.
    /// - Parameter output: nil: the data's name with `.yaml` in the working folder; "-": nothing is written.
    public func initialSettings(_ request: DataRequest, output: String?) throws -> InitialSettings {
        guard let name = request.data else { throw DeMLError(.usage, "it is not said which data is meant") }
        var configuration = RunConfiguration()
        configuration.data.path = try paths.dataset(name, from: paths.workingFolder)
        try configuration.data.take(request)
        let data = try TrainingData(&configuration, given: [], resumed: nil, paths)
        let base = (name as NSString).lastPathComponent
        let stem = base.split(separator: ".").first.map(String.init) ?? base
        let file = output == "-" ? nil : paths.resolved(output ?? stem + ".yaml")
        // Paths in the file are seen from its folder.
        let folder = file.flatMap { Files.parent(of: $0) } ?? paths.workingFolder
        let isNamed = Paths.namedDatasets[name] != nil && !Files.exists(paths.resolved(name))
        let path = isNamed ? name : relative(configuration.data.path, to: folder)
        let text = Self.settings(data, configuration, path: path)
        if let file {
            guard !Files.exists(file) else {
                throw DeMLError(
                    .cannotCreate, "the file is there already", place: paths.shown(file),
                    hint: "name another by --output")
            }
            try Files.writeAtomically(Array(text.utf8), to: file)
        }
        return InitialSettings(text: text, file: file.map(paths.shown), decisions: data.decisions)
    }

    private func relative(_ path: String, to folder: String) -> String {
        path.hasPrefix(folder + "/") ? String(path.dropFirst(folder.count + 1)) : path
    }

    private static func settings(_ data: TrainingData, _ configuration: RunConfiguration, path: String) -> String {
        var lines = ["# What was found in the data:"]
        for decision in data.decisions {
            let text = decision.text.map { $0.isNewline ? " " : String($0) }.joined()
            lines.append("#   \(decision.subject): \(text)")
        }
        lines += ["", "data: \(quoted(path))"]
        let settings = configuration.data
        if let label = data.dataset.schema.targetColumns.first {
            let label = settings.labelColumn ?? label
            lines.append("label_column: \(quoted(label))   # what is learned")
        }
        lines.append(
            "test_fraction: \(settings.testFraction)   # part of the rows to test with, where there is no test set")
        if let labels = settings.labels { lines.append("labels: \(labels.rawValue)") }
        if let header = settings.header { lines.append("header: \(header)") }
        if let decimal = settings.decimal { lines.append("decimal: \(decimal.rawValue)") }
        if data.dataset.schema.tokens != nil {
            let text = settings.text ?? TextOptions()
            let block = text.block.map { ", block: \($0)" } ?? ""
            let stride = text.stride.map { ", stride: \($0)" } ?? ""
            lines.append("text: {tokens: \(text.tokens.rawValue)\(block)\(stride)}   # or bytes")
        } else {
            lines.append("standardize: \(settings.standardize ?? true)   # numbers to mean 0 and deviation 1")
        }
        for (key, list) in [
            ("missing_values", settings.missingValues), ("ignore_columns", settings.ignoreColumns),
            ("category_columns", settings.categoryColumns),
        ] where !list.texts.isEmpty {
            lines.append("\(key): [\(list.texts.map(quoted).joined(separator: ", "))]")
        }
        lines += ["", "# Shapes and outputs may be left out: the data says them.", data.chosenModel ?? ""]
        lines += ["", "# fleet: golem rents machines of strangers, who then see the shards of the data."]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func quoted(_ text: String) -> String {
        let isPlain = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-/".contains($0)) }
        let isText =
            Double(text) == nil && !["true", "false", "null", "yes", "no", "on", "off"].contains(text.lowercased())
        return isPlain && isText && !text.hasPrefix("-") ? text : "'" + text.replacing("'", with: "''") + "'"
    }
}
