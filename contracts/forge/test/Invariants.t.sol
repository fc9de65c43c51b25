// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {MemberRegistry} from "../../src/MemberRegistry.sol";
import {RewardVault} from "../../src/RewardVault.sol";
import {RoundLedger} from "../../src/RoundLedger.sol";
import {IMemberRegistry, Member} from "../../src/interfaces/IMemberRegistry.sol";
import {Stake} from "../../src/interfaces/IRewardVault.sol";
import {IRoundLedger, RoundResult, RoundState} from "../../src/interfaces/IRoundLedger.sol";

interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 timestamp) external;
    function deal(address account, uint256 amount) external;
    function prank(address sender) external;
    function getNonce(address account) external view returns (uint64);
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
}

/// @notice What a consortium of four does, and one that may join it; every call is one that somebody could make.
contract Handler {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 private constant ROTATION = keccak256(
        "Rotation(bytes32 config,uint256 index,address account,address signer,bytes peerId,string netAddress)"
    );
    bytes32 private constant EXIT = keccak256("Exit(bytes32 config,uint256 index)");
    bytes32 private constant PAUSE = keccak256("Pause(bytes32 config,uint64 number,uint64 until)");
    bytes32 private constant ROUND_RULING =
        keccak256("RoundRuling(bytes32 config,uint64 round,bool isVoid,bytes32 evidence)");
    bytes32 private constant MEMBER_RULING =
        keccak256("MemberRuling(bytes32 config,uint256 index,uint256 amountWei,bytes32 evidence)");
    uint256 private constant BOND = 10;

    MemberRegistry public registry;
    RoundLedger public ledger;
    RewardVault public vault;
    Disputes public disputes;

    RoundResult[] public results;
    mapping(bytes32 root => uint256[4]) public leaves;
    uint256[4] public earned;
    mapping(uint64 round => bytes27) public finalDigest;
    uint256 public highestActive;
    bool public oldSignaturesCounted;
    bool public signerCountedTwice;
    bool public claimWasBlocked;
    bool public finalChanged;
    uint256 public accepted;

    bytes private _oldPause;
    uint64 private _oldUntil;
    uint256 private _oldSigners;
    bytes32 private _oldConfig;

    constructor() payable {
        uint64 nonce = VM.getNonce(address(this));
        address[] memory later = new address[](3);
        for (uint256 i; i < 3; ++i) later[i] = VM.computeCreateAddress(address(this), nonce + 1 + i);
        Member[] memory members = new Member[](4);
        for (uint256 i; i < 4; ++i) members[i] = _entry(i);
        registry = new MemberRegistry(members, "spec", later[0], later[1], later[2]);
        ledger = new RoundLedger(registry, 100, 200);
        vault = new RewardVault(registry, ledger, address(0), 1, 1, 301);
        disputes = new Disputes(registry, uint128(BOND));
    }

    /* WHAT MEMBERS DO */

    function record(uint8 a, uint8 b, uint8 c, uint8 d, uint8 lie) external {
        uint256[4] memory next = earned;
        uint256[4] memory added = [uint256(a), b, c, d];
        uint256 total;
        for (uint256 i; i < 4; ++i) total += (next[i] += results.length == 0 ? 0 : added[i]);
        if (lie > 200) total = total > lie ? total - lie : 0;
        (bytes32 root,) = _tree(next, 0);
        (address[] memory keys, uint256 needed) = _roster();
        RoundResult memory result = RoundResult({
            round: uint64(results.length),
            kind: 1,
            outcome: 1,
            previous: results.length == 0 ? bytes32(0) : ledger.hashResult(results[results.length - 1]),
            config: registry.configDigest(),
            dealers: 1,
            model: keccak256(abi.encode(results.length)),
            deals: 0,
            scores: 0,
            rewards: root,
            rewardsTotal: uint128(total)
        });
        if (registry.activeBitmap() & 1 == 0) result.dealers = registry.activeBitmap() & ~(registry.activeBitmap() - 1);
        bytes32 digest = _typed(ledger.domainSeparator(), ledger.hashResult(result));
        (uint256 signers, bytes memory signed) = _quorum(digest, keys, needed, 0);
        if (signers != 0) _tryTwice(result, signers, digest, keys);
        try ledger.submitRound(result, "", signers, signed) {
            results.push(result);
            leaves[root] = next;
            earned = next;
            ++accepted;
        } catch {}
    }

    function activate(uint256 place, bool waits) external {
        if (results.length == 0) return;
        RoundResult memory result = results[place % results.length];
        if (waits) VM.warp(block.timestamp + 100);
        try vault.activate(result) {
            ++accepted;
        } catch {}
    }

    function fund(uint96 amount) external {
        VM.deal(address(this), amount);
        try vault.fund{value: amount}(amount) {
            ++accepted;
        } catch {}
    }

    function payRevenue(uint96 amount) external {
        VM.deal(address(this), amount);
        try vault.payRevenue{value: amount}(amount) {
            ++accepted;
        } catch {}
    }

    function claim(uint256 index) public {
        index %= 4;
        uint256[4] memory tree = leaves[vault.activeRoot()];
        (, bytes32[] memory proof) = _tree(tree, index);
        uint256 claimed = vault.claimedWei(index);
        bool due = vault.activeRound() != 0 && tree[index] > claimed;
        uint256 left = vault.activeTotal() - vault.totalClaimed();
        try vault.claim(index, tree[index], proof) {
            ++accepted;
        } catch {
            // Whatever others did before, who is owed something is paid, unless a quorum signed a total too small.
            if (due && tree[index] - claimed <= left) claimWasBlocked = true;
        }
    }

    function claimRevenue(uint256 place, uint256 index) external {
        if (results.length == 0) return;
        uint64 round = uint64(place % results.length);
        index %= 4;
        (bytes32 root,,,) = vault.revenueOf(round);
        uint256[4] memory tree = leaves[root];
        (, bytes32[] memory proof) = _tree(tree, index);
        try vault.claimRevenue(round, index, tree[index], proof) {
            ++accepted;
        } catch {}
    }

    function stake(uint256 index, uint64 amount) external {
        VM.deal(address(this), amount);
        try vault.stake{value: amount}(index % 5, amount) {
            ++accepted;
        } catch {}
    }

    function requestUnstake(uint256 index, uint64 amount) external {
        index %= 4;
        VM.prank(registry.accountAt(index));
        try vault.requestUnstake(index, amount) {
            ++accepted;
        } catch {}
    }

    function withdrawStake(uint256 index, bool waits) external {
        if (waits) VM.warp(block.timestamp + 301);
        try vault.withdrawStake(index % 4) {
            ++accepted;
        } catch {}
    }

    /* WHAT MEMBERS DISPUTE */

    function challenge(uint256 index, uint256 place) external {
        if (results.length == 0) return;
        index %= 4;
        VM.prank(registry.accountAt(index));
        try disputes.challenge(uint64(place % results.length), index, keccak256("evidence")) {
            ++accepted;
        } catch {}
    }

    function ruleOnRound(uint256 place, bool isVoid) external {
        if (results.length == 0) return;
        uint64 round = uint64(place % results.length);
        bytes32 fields = keccak256(abi.encode(ROUND_RULING, registry.configDigest(), round, isVoid, bytes32(0)));
        (address[] memory keys, uint256 needed) = _roster();
        (uint256 signers, bytes memory signed) = _quorum(_typed(disputes.domainSeparator(), fields), keys, needed, 0);
        RoundState before = ledger.stateOf(round);
        try disputes.ruleOnRound(round, isVoid, 0, signers, signed) {
            ++accepted;
            if (before == RoundState.Final || before == RoundState.Abandoned) finalChanged = true;
        } catch {}
    }

    function lapse(uint256 place) external {
        if (results.length == 0) return;
        try disputes.lapse(uint64(place % results.length)) {
            ++accepted;
        } catch {}
    }

    function ruleOnMember(uint256 index, uint64 amount) external {
        bytes32 fields =
            keccak256(abi.encode(MEMBER_RULING, registry.configDigest(), index % 5, uint256(amount), bytes32(0)));
        (address[] memory keys, uint256 needed) = _roster();
        (uint256 signers, bytes memory signed) = _quorum(_typed(disputes.domainSeparator(), fields), keys, needed, 0);
        try disputes.ruleOnMember(index % 5, amount, 0, signers, signed) {
            ++accepted;
        } catch {}
    }

    /* WHAT CHANGES THE ROSTER */

    function rotate(uint256 index, uint8 salt) external {
        index %= 4;
        address account = registry.accountAt(index);
        address signer = VM.addr(_signerKey(index) + 100 * (1 + uint256(salt % 3)));
        bytes memory peerId = abi.encodePacked(bytes1(uint8(48 + index)), bytes1(uint8(97 + (salt % 26))));
        bytes32 fields = keccak256(
            abi.encode(
                ROTATION,
                registry.configDigest(),
                index,
                account,
                signer,
                keccak256(peerId),
                keccak256(bytes("host:1"))
            )
        );
        bytes memory signed = _compact(1000 + index, _typed(registry.domainSeparator(), fields));
        try registry.rotate(index, account, signer, peerId, "host:1", signed) {
            ++accepted;
        } catch {}
    }

    function leave() external {
        if (Counter.count(registry.activeBitmap()) <= 3) return;
        bytes32 fields = keccak256(abi.encode(EXIT, registry.configDigest(), uint256(3)));
        try registry.leaveRoster(3, _compact(1003, _typed(registry.domainSeparator(), fields))) {
            ++accepted;
        } catch {}
    }

    function pause(uint16 any) external {
        uint64 length = any % 3000;
        uint64 until = uint64(block.timestamp) + length;
        bytes32 config = registry.configDigest();
        bytes32 fields = keccak256(abi.encode(PAUSE, config, ledger.pauses(), until));
        (address[] memory keys, uint256 needed) = _roster();
        (uint256 signers, bytes memory signed) = _quorum(_typed(ledger.domainSeparator(), fields), keys, needed, 0);
        if (length % 2 == 0) {
            (_oldPause, _oldUntil, _oldSigners, _oldConfig) = (signed, until, signers, config);
            return;
        }
        try ledger.pause(until, signers, signed) {
            ++accepted;
        } catch {}
    }

    /// @dev An approved pause that was kept back; a change of the roster has to void it.
    function pauseWithOldApprovals() external {
        if (_oldPause.length == 0) return;
        bytes32 config = registry.configDigest();
        try ledger.pause(_oldUntil, _oldSigners, _oldPause) {
            ++accepted;
            if (config != _oldConfig) oldSignaturesCounted = true;
            delete _oldPause;
        } catch {}
    }

    function warp(uint16 seconds_) external {
        VM.warp(block.timestamp + seconds_);
    }

    function noteFinal(uint256 place) external {
        if (results.length == 0) return;
        uint64 round = uint64(place % results.length);
        RoundState state = ledger.stateOf(round);
        if (state == RoundState.Final || state == RoundState.Abandoned) finalDigest[round] = ledger.resultDigest(round);
        else if (finalDigest[round] != 0) finalChanged = true;
    }

    function count() external view returns (uint256) {
        return results.length;
    }

    receive() external payable {}

    /* INTERNAL */

    /// @dev The first signature in every place.
    function _tryTwice(RoundResult memory result, uint256 signers, bytes32 digest, address[] memory keys) private {
        bytes memory first;
        uint256 known = Counter.count(signers);
        for (uint256 i; i < keys.length; ++i) {
            if ((signers >> i) & 1 == 1) {
                first = _compact(_keyOf(keys[i]), digest);
                break;
            }
        }
        bytes memory all;
        for (uint256 i; i < known; ++i) all = bytes.concat(all, first);
        try ledger.submitRound(result, "", signers, all) {
            signerCountedTwice = true;
        } catch {}
    }

    function _entry(uint256 index) private pure returns (Member memory) {
        bytes memory name = abi.encodePacked("member ", bytes1(uint8(48 + index)));
        bytes memory peerId = abi.encodePacked("peer", bytes1(uint8(48 + index)));
        return Member(VM.addr(1000 + index), VM.addr(_signerKey(index)), string(name), peerId, "host:1");
    }

    function _signerKey(uint256 index) private pure returns (uint256) {
        return 1 + index;
    }

    function _keyOf(address signer) private pure returns (uint256) {
        for (uint256 index; index < 4; ++index) {
            for (uint256 salt; salt < 4; ++salt) {
                if (VM.addr(_signerKey(index) + 100 * salt) == signer) return _signerKey(index) + 100 * salt;
            }
        }
        return 0;
    }

    function _roster() private view returns (address[] memory keys, uint256 needed) {
        (,,, keys, needed,) =
            abi.decode(registry.rosterCode().code, (uint256, address, uint64, address[], uint256, bytes32));
    }

    function _quorum(bytes32 digest, address[] memory keys, uint256 needed, uint256 skip)
        private
        pure
        returns (uint256 signers, bytes memory signed)
    {
        uint256 found;
        for (uint256 i = skip; i < keys.length && found < needed; ++i) {
            if (keys[i] == address(0)) continue;
            signers |= 1 << i;
            signed = bytes.concat(signed, _compact(_keyOf(keys[i]), digest));
            ++found;
        }
    }

    function _compact(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function _typed(bytes32 domain, bytes32 fields) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, fields));
    }

    function _tree(uint256[4] memory cumulative, uint256 index)
        private
        pure
        returns (bytes32 root, bytes32[] memory proof)
    {
        bytes32[4] memory leaf;
        for (uint256 i; i < 4; ++i) leaf[i] = keccak256(bytes.concat(keccak256(abi.encode(i, cumulative[i]))));
        bytes32[2] memory pair = [_join(leaf[0], leaf[1]), _join(leaf[2], leaf[3])];
        proof = new bytes32[](2);
        (proof[0], proof[1]) = (leaf[index ^ 1], pair[1 - index / 2]);
        return (_join(pair[0], pair[1]), proof);
    }

    function _join(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return left < right ? keccak256(abi.encode(left, right)) : keccak256(abi.encode(right, left));
    }
}

library Counter {
    function count(uint256 bitmap) internal pure returns (uint256 found) {
        for (; bitmap != 0; bitmap &= bitmap - 1) ++found;
    }
}

/// @notice What holds after any calls in any order.
contract Invariants {
    Handler private _handler;
    uint256 private _round;

    function setUp() external {
        _handler = new Handler();
        _handler.fund(1e9);
        for (uint256 i; i < 4; ++i) _handler.stake(i, 1000);
        _handler.record(0, 0, 0, 0, 0);
        _handler.record(9, 8, 0, 7, 0);
        _handler.activate(1, true);
    }

    /// @dev After every run: the calls were not all refused.
    function afterInvariant() external view {
        assert(_handler.accepted() > 18);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_the_vault_can_pay_everything_it_owes() external view {
        RewardVault vault = _handler.vault();
        uint256 owed = uint256(vault.totalFunded()) + vault.totalSlashed() - vault.totalClaimed();
        for (uint256 i; i < 4; ++i) {
            Stake memory stake = vault.stakeOf(i);
            owed += uint256(stake.staked) + stake.unbonding + stake.bonded;
        }
        for (uint64 round; round < _handler.count(); ++round) {
            (,, uint128 paid, uint128 claimed) = vault.revenueOf(round);
            owed += paid - claimed;
        }
        assert(address(vault).balance >= owed);
    }

    function invariant_claimed_is_within_activated_and_activated_within_what_came_in() external view {
        RewardVault vault = _handler.vault();
        uint256 sum;
        for (uint256 i; i < 4; ++i) sum += vault.claimedWei(i);
        assert(sum == vault.totalClaimed());
        assert(vault.totalClaimed() <= vault.activeTotal());
        assert(vault.activeTotal() <= uint256(vault.totalFunded()) + vault.totalSlashed());
        for (uint64 round; round < _handler.count(); ++round) {
            (,, uint128 paid, uint128 claimed) = vault.revenueOf(round);
            assert(claimed <= paid);
        }
    }

    function invariant_a_final_result_never_changes() external view {
        assert(!_handler.finalChanged());
        for (uint64 round; round < _handler.count(); ++round) {
            bytes27 noted = _handler.finalDigest(round);
            if (noted != 0) assert(_handler.ledger().resultDigest(round) == noted);
        }
        assert(_handler.ledger().nextRound() == _handler.count());
    }

    function invariant_no_active_rewards_contain_any_that_can_become_void() external view {
        RoundLedger ledger = _handler.ledger();
        uint64 active = _handler.vault().activeRound();
        for (uint64 round; round < active; ++round) {
            RoundState state = ledger.stateOf(round);
            assert(state != RoundState.Open && state != RoundState.Disputed);
        }
        assert(active == 0 || ledger.stateOf(active) == RoundState.Final);
    }

    function invariant_no_challenge_holds_a_round_longer_than_one_ruling() external view {
        RoundLedger ledger = _handler.ledger();
        for (uint64 round; round < _handler.count(); ++round) {
            uint256 latest = ledger.recordedAt(round) + ledger.disputeWindowSeconds() + ledger.rulingSeconds();
            assert(ledger.finalAt(round) <= latest);
            RoundState state = ledger.stateOf(round);
            assert(block.timestamp < latest || state == RoundState.Final || state == RoundState.Void);
        }
    }

    function invariant_each_signer_counts_once() external view {
        assert(!_handler.signerCountedTwice());
    }

    function invariant_a_roster_change_voids_old_signatures() external view {
        assert(!_handler.oldSignaturesCounted());
    }

    function invariant_nobody_blocks_anothers_claim() external view {
        assert(!_handler.claimWasBlocked());
    }

    function invariant_any_two_quorums_share_more_than_a_third() external view {
        MemberRegistry registry = _handler.registry();
        uint256 n = Counter.count(registry.activeBitmap());
        assert(n >= 3 && 2 * registry.quorum() - n > n / 3);
    }
}
