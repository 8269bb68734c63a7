import Application
import CommandLineSupport
import Foundation

/// Layers, shapes, parameters and work of a model, for the terminal: for whatever command has one to show.
enum ModelText {
    static func lines(_ table: ModelTable, terminal: Terminal = .current(of: STDOUT_FILENO)) -> [String] {
        let columns = ModelTable.head.enumerated().map { TextTable.Column($1, toRight: $0 > 1) }
        let rows = table.rows.map { $0.map(TextWidth.harmless) }
        return TextTable(columns, rows: rows).lines(paint: Paint(terminal.hasColour), width: terminal.columns)
            + ["  " + table.note]
    }
}
