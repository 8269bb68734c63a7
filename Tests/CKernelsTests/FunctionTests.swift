import CKernels
import Foundation
import Testing

/// exp, log, tanh, erf against double precision: at most 2 ulp, and the same bytes everywhere.
@Suite struct FunctionTests {
    /// Every 2503rd float of either sign (a prime, so that all exponents and many mantissas come up), and the edges.
    static let inputs: [Float] = {
        var values: [Float] = [0, -0.0, 1, -1, .leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude]
        values += [88.72283, 88.722839, 88.8, 89, -87.33654, -87.4, -103.9, -104.5, 0.55, 0.5499999, 0.927734375, 9.1]
        var bits: UInt32 = 1
        while bits < 0x7f80_0000 {
            values += [Float(bitPattern: bits), -Float(bitPattern: bits)]
            bits += 2503
        }
        return values
    }()

    /// Distance of `value` from `exact` in units of the last place of a float near `exact`.
    static func error(_ value: Float, _ exact: Double) -> Double {
        if exact.isNaN { return value.isNaN ? 0 : .infinity }
        let rounded = Float(exact)
        if rounded.isInfinite || value.isInfinite { return rounded == value ? 0 : .infinity }
        return abs(Double(value) - exact) / Double(max(abs(rounded), .leastNormalMagnitude).ulp)
    }

    @Test(arguments: [
        (DEML_FUNCTION_EXP, "exp", exp as @Sendable (Double) -> Double), (DEML_FUNCTION_LOG, "log", log),
        (DEML_FUNCTION_TANH, "tanh", tanh), (DEML_FUNCTION_ERF, "erf", erf),
    ]) func within2UnitsInTheLastPlace(
        function: deml_function, name: String, exact: @escaping @Sendable (Double) -> Double
    ) throws {
        let x = Self.inputs
        let y = try withPool(threads: 2) { pool in
            output(x.count) { deml_function_values(pool.pointer, function, x.count, x, $0) }
        }
        var worst = 0.0
        var at: Float = 0
        for (x, y) in zip(x, y) {
            let error = Self.error(y, exact(Double(x)))
            if error > worst { (worst, at) = (error, x) }
        }
        #expect(worst <= 2, "\(name)(\(at)) is \(worst) ulp off")
    }

    @Test(arguments: [DEML_FUNCTION_EXP, DEML_FUNCTION_LOG, DEML_FUNCTION_TANH, DEML_FUNCTION_ERF])
    func sameEverywhere(function: deml_function) throws {
        var x = Self.inputs.enumerated().filter { $0.offset % 17 == 0 }.map(\.element)
        if function == DEML_FUNCTION_LOG { x = x.filter { $0 > 0 } }
        _ = try sameOnEveryPool("function \(function.rawValue)") { pool in
            output(x.count) { deml_function_values(pool, function, x.count, x, $0) }
        }
    }
}
