//! What may be permitted: the words of the contract, and sets of them.

use std::{fmt, str::FromStr};

/// Declares the permissions, each with its word.
macro_rules! permissions {
    ($($variant:ident = $word:literal,)+) => {
        /// Something that may be permitted, as `tools.read`: a kind of thing, and what is done to it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Permission {
            $(#[doc = concat!("`", $word, "`")] $variant,)+
        }

        impl Permission {
            /// Every permission, in the order of declaration.
            pub const ALL: &'static [Permission] = &[$(Permission::$variant,)+];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Permission::$variant => $word,)+ }
            }
        }

        impl FromStr for Permission {
            type Err = ();

            fn from_str(word: &str) -> Result<Permission, ()> {
                match word {
                    $($word => Ok(Permission::$variant),)+
                    _ => Err(()),
                }
            }
        }
    };
}

permissions! {
    UsersCreate = "users.create",
    UsersRead = "users.read",
    UsersUpdate = "users.update",
    UsersDelete = "users.delete",
    UsersInvite = "users.invite",
    TeamsCreate = "teams.create",
    TeamsRead = "teams.read",
    TeamsUpdate = "teams.update",
    TeamsDelete = "teams.delete",
    TeamsJoin = "teams.join",
    TeamsManageMembers = "teams.manage_members",
    ToolsCreate = "tools.create",
    ToolsRead = "tools.read",
    ToolsUpdate = "tools.update",
    ToolsDelete = "tools.delete",
    ToolsExecute = "tools.execute",
    ToolsManagePlugins = "tools.manage_plugins",
    ResourcesCreate = "resources.create",
    ResourcesRead = "resources.read",
    ResourcesUpdate = "resources.update",
    ResourcesDelete = "resources.delete",
    ResourcesShare = "resources.share",
    GatewaysCreate = "gateways.create",
    GatewaysRead = "gateways.read",
    GatewaysUpdate = "gateways.update",
    GatewaysDelete = "gateways.delete",
    PromptsCreate = "prompts.create",
    PromptsRead = "prompts.read",
    PromptsUpdate = "prompts.update",
    PromptsDelete = "prompts.delete",
    PromptsExecute = "prompts.execute",
    LlmRead = "llm.read",
    LlmInvoke = "llm.invoke",
    ServersCreate = "servers.create",
    ServersRead = "servers.read",
    ServersUse = "servers.use",
    ServersUpdate = "servers.update",
    ServersDelete = "servers.delete",
    ServersManage = "servers.manage",
    TokensCreate = "tokens.create",
    TokensRead = "tokens.read",
    TokensUpdate = "tokens.update",
    TokensRevoke = "tokens.revoke",
    AdminSystemConfig = "admin.system_config",
    AdminUserManagement = "admin.user_management",
    AdminSecurityAudit = "admin.security_audit",
    AdminCompliance = "admin.compliance",
    AdminOverview = "admin.overview",
    AdminDashboard = "admin.dashboard",
    AdminEvents = "admin.events",
    AdminGrpc = "admin.grpc",
    AdminPlugins = "admin.plugins",
    AdminMetrics = "admin.metrics",
    AdminExport = "admin.export",
    AdminImport = "admin.import",
    AdminSsoProvidersCreate = "admin.sso_providers:create",
    AdminSsoProvidersRead = "admin.sso_providers:read",
    AdminSsoProvidersUpdate = "admin.sso_providers:update",
    AdminSsoProvidersDelete = "admin.sso_providers:delete",
    LogsRead = "logs:read",
    MetricsRead = "metrics:read",
    AuditRead = "audit:read",
    SecurityRead = "security:read",
    A2aCreate = "a2a.create",
    A2aRead = "a2a.read",
    A2aUpdate = "a2a.update",
    A2aDelete = "a2a.delete",
    A2aInvoke = "a2a.invoke",
    TagsRead = "tags.read",
    TagsCreate = "tags.create",
    TagsUpdate = "tags.update",
    TagsDelete = "tags.delete",
    PluginsRead = "plugins.read",
}

/// Everything, as a word.
pub const EVERYTHING: &str = "*";

const _: () = assert!(Permission::ALL.len() <= 128, "a set is a number of 128 bits");

impl Permission {
    /// The kind of thing, as `tools`.
    pub fn kind(self) -> &'static str {
        let word = self.as_str();
        word.split(['.', ':']).next().unwrap_or(word)
    }

    /// What is done to it, as `read`.
    pub fn deed(self) -> &'static str {
        let word = self.as_str();
        word.rsplit(['.', ':']).next().unwrap_or(word)
    }

    /// Whether it changes nothing: whoever may do it anywhere may do it to what is public.
    pub fn is_use(self) -> bool {
        USES.contains(self)
    }

    /// The permissions that `word` may have been meant for: the most like it, or else those of its
    /// kind.
    pub fn near(word: &str) -> Vec<Permission> {
        /// More edits than this make another word.
        const EDIT_COUNT_MAX: usize = 3;
        const COUNT_MAX: usize = 5;
        let edits = |permission: &Permission| edit_count(word, permission.as_str());
        let mut near: Vec<Permission> =
            Permission::ALL.iter().copied().filter(|one| edits(one) <= EDIT_COUNT_MAX).collect();
        near.sort_by_key(edits);
        if near.is_empty() {
            let kind = word.split(['.', ':']).next().unwrap_or(word);
            let is_of_kind = |one: &Permission| edit_count(kind, one.kind()) <= 1;
            near.extend(Permission::ALL.iter().copied().filter(is_of_kind));
        }
        near.truncate(COUNT_MAX);
        near
    }

    /// Whether only a role that counts everywhere gives it.
    pub fn is_global(self) -> bool {
        GLOBALS.contains(self)
    }
}

/// How many letters must be put in, taken out or changed to make one word of the other. A word that
/// is longer than any of ours is far from all of them.
fn edit_count(word: &str, other: &str) -> usize {
    const LENGTH_MAX: usize = 64;
    if word.len() > LENGTH_MAX {
        return LENGTH_MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in word.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, byte) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != byte);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

/// The permissions that change nothing.
const USES: PermissionSet = PermissionSet::of(&[
    Permission::ToolsRead,
    Permission::ToolsExecute,
    Permission::ResourcesRead,
    Permission::GatewaysRead,
    Permission::PromptsRead,
    Permission::PromptsExecute,
    Permission::LlmRead,
    Permission::LlmInvoke,
    Permission::ServersRead,
    Permission::ServersUse,
    Permission::A2aRead,
    Permission::A2aInvoke,
    Permission::TagsRead,
    Permission::PluginsRead,
    Permission::TeamsRead,
]);

/// The permissions that are about the gateway as a whole.
const GLOBALS: PermissionSet = PermissionSet::of(&[
    Permission::UsersCreate,
    Permission::UsersRead,
    Permission::UsersUpdate,
    Permission::UsersDelete,
    Permission::UsersInvite,
    Permission::AdminSystemConfig,
    Permission::AdminUserManagement,
    Permission::AdminSecurityAudit,
    Permission::AdminCompliance,
    Permission::AdminEvents,
    Permission::AdminGrpc,
    Permission::AdminPlugins,
    Permission::AdminMetrics,
    Permission::AdminExport,
    Permission::AdminImport,
    Permission::AdminSsoProvidersCreate,
    Permission::AdminSsoProvidersRead,
    Permission::AdminSsoProvidersUpdate,
    Permission::AdminSsoProvidersDelete,
    Permission::LogsRead,
    Permission::MetricsRead,
    Permission::AuditRead,
    Permission::SecurityRead,
]);

impl fmt::Display for Permission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PermissionSet(u128);

impl PermissionSet {
    /// None.
    pub const EMPTY: PermissionSet = PermissionSet(0);

    /// All, those that later releases add included.
    pub const ALL: PermissionSet = PermissionSet(u128::MAX);

    /// Those of a list.
    pub const fn of(permissions: &[Permission]) -> PermissionSet {
        let (mut bits, mut index) = (0, 0);
        while index < permissions.len() {
            bits |= 1 << permissions[index] as u8;
            index += 1;
        }
        PermissionSet(bits)
    }

    /// Those of some words; `*` is all, and a word that is none means nothing.
    pub fn of_words<'w>(words: impl IntoIterator<Item = &'w str>) -> PermissionSet {
        words.into_iter().fold(PermissionSet::EMPTY, |set, word| match word.parse() {
            Ok(permission) => set | PermissionSet::of(&[permission]),
            Err(()) if word == EVERYTHING => PermissionSet::ALL,
            Err(()) => set,
        })
    }

    /// Whether `permission` is in it.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in it.
    pub const fn includes(self, other: PermissionSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Its permissions, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl std::ops::BitOr for PermissionSet {
    type Output = PermissionSet;

    fn bitor(self, other: PermissionSet) -> PermissionSet {
        PermissionSet(self.0 | other.0)
    }
}

impl std::ops::BitAnd for PermissionSet {
    type Output = PermissionSet;

    fn bitand(self, other: PermissionSet) -> PermissionSet {
        PermissionSet(self.0 & other.0)
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PermissionSet::ALL => out.write_str("{*}"),
            set => out.debug_set().entries(set.iter()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_its_permission() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        assert_eq!("tools.fly".parse::<Permission>(), Err(()));
    }

    #[test]
    fn a_set_holds_what_its_words_name_and_nothing_else() {
        let set = PermissionSet::of_words(["tools.read", "no.such", "a2a.invoke"]);
        let held: Vec<_> = set.iter().collect();
        assert_eq!(held, [Permission::ToolsRead, Permission::A2aInvoke]);
        assert!(PermissionSet::of_words(["*"]).includes(set));
        assert!(!set.includes(PermissionSet::of_words(["tools.read", "tools.create"])));
    }

    #[test]
    fn a_word_that_is_none_is_near_to_those_that_are_like_it() {
        assert_eq!(Permission::near("tools.reed")[0], Permission::ToolsRead);
        assert_eq!(Permission::near("prompt.read")[0], Permission::PromptsRead);
        let of_kind = Permission::near("tools.fly_to_the_moon");
        assert!(of_kind.len() == 5 && of_kind.iter().all(|one| one.kind() == "tools"));
        assert!(Permission::near("nothing like it").is_empty());
        assert!(Permission::near(&"x".repeat(10_000)).is_empty());
        assert_eq!((edit_count("abc", "abc"), edit_count("abc", "ab")), (0, 1));
        assert_eq!((edit_count("", "abc"), edit_count("kitten", "sitting")), (3, 3));
    }

    #[test]
    fn nothing_that_changes_something_is_a_use() {
        for permission in USES.iter() {
            assert!(matches!(permission.deed(), "read" | "execute" | "use" | "invoke"));
            assert!(!permission.is_global(), "{permission}");
        }
        assert_eq!((Permission::A2aInvoke.kind(), Permission::AuditRead.kind()), ("a2a", "audit"));
    }
}
