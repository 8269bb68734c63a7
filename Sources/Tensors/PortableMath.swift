/// Logarithm, exponential and cosine out of IEEE additions, multiplications and divisions alone, after fdlibm's e_log.c,
/// e_exp.c, k_cos.c and k_sin.c (Sun Microsystems, 1993): the system's functions may differ in the last bit from machine to machine, and a
/// partition drawn with the same seed must not.
public enum PortableMath {
    private static let ln2High = 6.93147180369123816490e-01
    private static let ln2Low = 1.90821492927058770002e-10

    /// Natural logarithm, error below one unit in the last place; NaN for negative numbers, -infinity for 0.
    public static func log(_ x: Double) -> Double {
        guard x > 0 else { return x == 0 ? -.infinity : .nan }
        guard x.isFinite else { return x }
        // x = 2^k (1 + f) with sqrt(1/2) < 1 + f < sqrt(2)
        var k = Int(x.exponent)
        var significand = x.significand
        if significand > 1.4142135623730951 {
            significand /= 2
            k += 1
        }
        let f = significand - 1
        let s = f / (2 + f)
        let z = s * s
        let w = z * z
        let odd =
            z
            * (6.666666666666735130e-01 + w
                * (2.857142874366239149e-01
                    + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)))
        let even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
        let r = odd + even
        let half = 0.5 * f * f
        let exponent = Double(k)
        return exponent * ln2High - ((half - (s * (half + r) + exponent * ln2Low)) - f)
    }

    /// Exponential, error below one unit in the last place for normal results.
    public static func exp(_ x: Double) -> Double {
        if x.isNaN { return x }
        if x > 7.09782712893383973096e+02 { return .infinity }
        if x < -7.45133219101941108420e+02 { return 0 }
        // x = k ln 2 + r with |r| <= ln 2 / 2
        let k = (x * 1.44269504088896338700).rounded()
        let high = x - k * ln2High
        let low = k * ln2Low
        let r = high - low
        let t = r * r
        var series = t * 4.13813679705723846039e-08
        for coefficient in [-1.65339022054652515390e-06, 6.61375632143793436117e-05, -2.77777777770155933842e-03] {
            series = t * (coefficient + series)
        }
        let c = r - t * (1.66666666666666019037e-01 + series)
        let y = 1 - ((low - (r * c) / (2 - c)) - high)
        // In two steps, because 2^k alone may be outside the range where the product is not.
        let first = Int(k) / 2
        return y * power(first) * power(Int(k) - first)
    }

    /// cos(π·x) for x in 0 ... 1, error of a few units in the last place of 1.
    public static func cosine(pi x: Double) -> Double {
        if x > 0.5 { return -cosine(pi: 1 - x) }
        if x > 0.25 {
            // sin(π/2 - π·x)
            let y = (0.5 - x) * .pi
            let z = y * y
            var series = z * 1.58969099521155010221e-10
            for coefficient in [
                -2.50507602534068634195e-08, 2.75573137070700676789e-06, -1.98412698298579493134e-04,
                8.33333333332248946124e-03,
            ] {
                series = z * (coefficient + series)
            }
            return y + y * z * (-1.66666666666666324348e-01 + series)
        }
        let y = x * .pi
        let z = y * y
        var series = z * -1.13596475577881948265e-11
        for coefficient in [
            2.08757232129817482790e-09, -2.75573143513906633035e-07, 2.48015872894767294178e-05,
            -1.38888888888741095749e-03,
        ] {
            series = z * (coefficient + series)
        }
        return 1 - (0.5 * z - z * z * (4.16666666666666019037e-02 + series))
    }

    /// cos x and sin x, error of a few units in the last place of 1, and of the last place of x.
    public static func cosine(_ x: Double) -> Double { cosine(halfTurns: x / .pi) }
    public static func sine(_ x: Double) -> Double { cosine(halfTurns: x / .pi - 0.5) }

    /// cos(π·x) for any x.
    private static func cosine(halfTurns x: Double) -> Double {
        let rest = x - 2 * (x / 2).rounded(.down)
        return cosine(pi: rest > 1 ? 2 - rest : rest)
    }

    private static func power(_ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: 1)
    }
}
