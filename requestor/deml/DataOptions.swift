import Application
import ArgumentParser
import CommandLineSupport
import Datasets
import Federation

/// How a table is read, where that is not to be found out.
struct TableOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Column of a table that holds the label: its name, or its number from 0 (-1: the last). Several, separated by "
                + "commas, are predicted together.", valueName: "name"))
    var labelColumn: String?
    @Option(
        help: ArgumentHelp(
            "Whether the label column holds classes or numbers to predict. (default: what the model's loss learns, else found "
                + "out)", valueName: "kind"))
    var labels: LabelKind?
    @Option(help: ArgumentHelp("Whether the first line of a table holds names.", valueName: "true|false"))
    var header: Bool?
    @Option(help: ArgumentHelp("Decimal mark of a table: comma or point.", valueName: "mark"))
    var decimal: DecimalMark?
    @Option(
        help: ArgumentHelp(
            "Bring the numbers of a table to mean 0 and deviation 1. (default: unless the model scales them)",
            valueName: "true|false"))
    var standardize: Bool?
    @Option(
        help: ArgumentHelp("Texts that stand for missing values, beside ?, NA and the like.", valueName: "texts"))
    var missingValues: String?
    @Option(
        help: ArgumentHelp(
            "How a text is read: characters, bytes, or '{tokens: characters, block: 64}'. (default: characters, where a "
                + ".txt file is no table)", valueName: "tokens"))
    var text: String?
    @Option(help: ArgumentHelp("Columns to leave out, separated by commas.", valueName: "names"))
    var ignoreColumns: String?
    @Option(help: ArgumentHelp("Columns whose numbers are names of categories.", valueName: "names"))
    var categoryColumns: String?

    var given: [(key: String, text: String?)] {
        [
            ("label_column", labelColumn), ("labels", labels?.rawValue), ("header", header.map { "\($0)" }),
            ("decimal", decimal?.rawValue),
            ("standardize", standardize.map { "\($0)" }), ("missing_values", missingValues), ("text", text),
            ("ignore_columns", ignoreColumns), ("category_columns", categoryColumns),
        ]
    }

    func set(_ request: inout DataRequest) {
        request.labelColumn = labelColumn
        request.labels = labels
        request.header = header
        request.decimal = decimal
        request.standardize = standardize
        request.text = text
        request.missingValues = missingValues.map { TextList(parsing: $0).texts } ?? []
        request.ignoreColumns = ignoreColumns.map { TextList(parsing: $0).texts } ?? []
        request.categoryColumns = categoryColumns.map { TextList(parsing: $0).texts } ?? []
    }
}

extension DecimalMark: ExpressibleByArgument {}

extension LabelKind: ExpressibleByArgument {}

/// Which examples a command works on.
struct DataOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A table, a folder of IDX files, .npz, .npy, safetensors, or 'mnist'. (default: the data of the run)",
            valueName: "path"))
    var data: String?
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction: Double?
    @Option(
        help:
            "The part of the data: test, validation, train or all. (default: the test set, where there is one, else all)"
    )
    var split: DatasetPart?
    @OptionGroup(title: "How a table is read")
    var table: TableOptions

    var request: DataRequest {
        var request = DataRequest(data: data, testFraction: testFraction)
        table.set(&request)
        return request
    }
}

extension DatasetPart: ExpressibleByArgument {}

/// What was decided about data, for people.
enum DecisionText {
    /// A line each, the subjects in a column; warnings are marked.
    static func lines(_ decisions: [Decision], paint: Paint) -> [String] {
        let width = decisions.map { TextWidth.of($0.subject) }.max() ?? 0
        return decisions.map { decision in
            let subject = TextWidth.padded(decision.subject, to: width, right: false)
            let text = TextWidth.harmless(decision.text)
            return "  " + paint(subject, decision.isWarning ? .yellow : .dim) + "  "
                + (decision.isWarning ? paint("warning: ", .yellow, .bold) : "") + text
        }
    }
}
