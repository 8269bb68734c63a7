import Foundation

/// How figures are written wherever DeML shows them: fixed notation, the same on every machine and in every language.
public enum Figures {
    /// `0.97613` → `97.61 %`; what is not finite → `–`.
    public static func percent(_ share: Double, digits: Int = 2) -> String {
        guard (share * 100).isFinite else { return "–" }
        return decimal(share * 100, digits: digits) + " %"
    }

    /// A loss: four significant places for small values, fewer digits for large ones.
    public static func loss(_ value: Double) -> String {
        guard value.isFinite else { return "–" }
        return abs(value) >= 1000 ? String(format: "%.3g", value) : decimal(value, digits: abs(value) >= 10 ? 2 : 4)
    }

    /// `0.834` → `0.83 s`, `93` → `1 min 33 s`, `7265` → `2 h 01 min`.
    public static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "–" }
        if seconds < 0.0995 { return "\(Int(saturating: seconds * 1000)) ms" }
        if seconds < 9.995 { return decimal(seconds, digits: 2) + " s" }
        if seconds < 59.95 { return decimal(seconds, digits: 1) + " s" }
        guard seconds < 1e9 else { return String(format: "%.3g s", seconds) }
        let whole = Int(saturating: seconds)
        if whole < 3600 { return "\(whole / 60) min \(padded(whole % 60)) s" }
        return "\(whole / 3600) h \(padded(whole % 3600 / 60)) min"
    }

    /// Decimal units, as networks are priced: `940` → `940 B`, `402_112` → `402 kB`, `1_204_000` → `1.20 MB`.
    public static func bytes(_ count: Int) -> String {
        var value = Double(count)
        if abs(value) < 1000 { return "\(count) B" }
        var unit = ""
        for next in ["kB", "MB", "GB", "TB"] where abs(value) >= 999.5 || unit.isEmpty {
            value /= 1000
            unit = next
        }
        return decimal(value, digits: abs(value) < 9.995 ? 2 : abs(value) < 99.95 ? 1 : 0) + " " + unit
    }

    /// `41_234.5` → `41,235/s`; below ten two digits.
    public static func rate(_ perSecond: Double) -> String {
        guard perSecond.isFinite else { return "–" }
        return (perSecond < 10 ? decimal(perSecond, digits: 2) : grouped(Int(saturating: perSecond))) + "/s"
    }

    /// `199210` → `199,210`.
    public static func grouped(_ value: Int) -> String {
        var digits = Array(String(value.magnitude))
        var index = digits.count - 3
        while index > 0 {
            digits.insert(",", at: index)
            index -= 3
        }
        return (value < 0 ? "-" : "") + String(digits)
    }

    /// A number of things a second, whole: `41_234.5` → `41,235`; what is not finite → `–`.
    public static func grouped(_ value: Double) -> String {
        value.isFinite ? grouped(Int(saturating: value)) : "–"
    }

    /// GLM with four digits after the point, of less than a hundredth two that count; `free` when nothing was paid.
    public static func cost(_ glm: Double?) -> String {
        guard let glm, glm.isFinite else { return "–" }
        guard glm != 0 else { return "free" }
        return decimal(glm, digits: abs(glm) >= 0.01 ? 4 : min(10, 1 - Int(saturating: log10(abs(glm)).rounded(.down))))
            + " GLM"
    }

    /// An exact amount of GLM, as ledgers and the daemon write it, without the digits that nobody pays attention to:
    /// `0.012345678901234567` → `0.0123`. What is no number stays as it is.
    public static func amount(_ exact: String) -> String {
        guard let glm = Double(exact), glm.isFinite else { return exact }
        return glm == 0 ? "0" : String(cost(glm).dropLast(" GLM".count))
    }

    /// A number without trailing zeros, for axes and settings: `0.5`, `12`, `0.00001`; very small and very large ones as
    /// `2.5e-09`.
    public static func short(_ value: Double) -> String {
        let text = String(format: "%.6g", value)
        guard text.contains("e"), abs(value) >= 1e-7, abs(value) < 1e9 else { return text }
        var fixed = String(format: "%.12f", value)
        while fixed.last == "0" { fixed.removeLast() }
        if fixed.last == "." { fixed.removeLast() }
        return fixed
    }

    /// The middle left out, as names differ at their ends: `fashion-cnn-2026-11-29` → `fashion…11-29`.
    public static func shortened(_ name: String, to length: Int) -> String {
        guard name.count > length else { return name }
        guard length > 2 else { return String(name.prefix(max(0, length - 1))) + "…" }
        let end = (length - 1) / 2
        return String(name.prefix(length - 1 - end)) + "…" + String(name.suffix(end))
    }

    /// Fixed notation; "-0.00" is written "0.00", and what has more than 15 digits in short form.
    public static func decimal(_ value: Double, digits: Int) -> String {
        guard abs(value) < 1e15 else { return String(format: "%.3g", value) }
        let text = String(format: "%.\(digits)f", value)
        return text.hasPrefix("-") && !text.contains(where: { ("1"..."9").contains($0) })
            ? String(text.dropFirst()) : text
    }

    private static func padded(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
