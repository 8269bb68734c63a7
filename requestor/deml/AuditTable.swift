import Application
import CommandLineSupport
import Federation
import Reports

extension RunText {
    /// What was checked: a sentence, and a line for each provider of whom something was.
    static func audits(_ audits: AuditTotals, rounds: Int, paint: Paint, width: Int) -> [String] {
        let lines = TextWidth.wrapped(RunReporting.sentence(audits, rounds: rounds), to: width - 2).map { "  " + $0 }
        let columns: [TextTable.Column] = [
            .init("checked", toRight: false), .init("answers"), .init("audited"), .init("mismatches"),
            .init("false refusals"),
        ]
        let most = 12
        let shown = audits.providers.filter { $0.audited > 0 || $0.falseRefusals > 0 }
            .sorted { ($1.mismatches, $0.provider.name) < ($0.mismatches, $1.provider.name) }
        let rows = shown.prefix(most).map { line in
            [
                TextWidth.harmless(line.provider.name), "\(line.answers)", "\(line.audited)", "\(line.mismatches)",
                "\(line.falseRefusals)",
            ]
        }
        guard !rows.isEmpty else { return lines }
        let more = shown.count > most ? [paint("  … and \(shown.count - most) more", .dim)] : []
        return TextTable(columns, rows: Array(rows)).lines(paint: paint, width: width) + more + lines
    }
}
