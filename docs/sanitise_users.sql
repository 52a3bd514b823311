-- Makes the users of a copy of a Liferay site nobody: put it where LCP_BACKUP_RESTORE_SCRIPTS says, and restore with
-- {"scripts": true}. For Liferay 7.0 and later; adapt it to your site, which may keep personal data elsewhere, too.
-- The sample site of `make up` has none of these columns: there it fails, and nothing is restored.
-- (Where User_ has a column digest, empty that as well. Custom fields are in ExpandoValue.)

-- Nobody can log in with a password from production. The guest (default@...) stays.
UPDATE User_ SET
  emailAddress = CONCAT('user', userId, '@example.invalid'),
  screenName = CONCAT('user', userId),
  password_ = SHA2(CONCAT(UUID(), RAND()), 256),
  passwordEncrypted = 1,
  reminderQueryQuestion = '',
  reminderQueryAnswer = '',
  firstName = 'User',
  middleName = '',
  lastName = CAST(userId AS CHAR),
  greeting = '',
  comments = '',
  jobTitle = '',
  loginIP = '',
  lastLoginIP = ''
WHERE emailAddress NOT LIKE 'default@%';

UPDATE Contact_ SET
  userName = '', emailAddress = CONCAT('contact', contactId, '@example.invalid'),
  firstName = 'User', middleName = '', lastName = CAST(classPK AS CHAR), birthday = '1970-01-01';

UPDATE EmailAddress SET address = CONCAT('address', emailAddressId, '@example.invalid');
UPDATE Phone SET number_ = '', extension = '';
UPDATE Address SET street1 = '', street2 = '', street3 = '', city = '', zip = '';

-- Old passwords, and links by which a password can be set or a login be remembered.
DELETE FROM PasswordTracker;
DELETE FROM Ticket;
